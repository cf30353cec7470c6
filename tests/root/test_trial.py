"""Network settings on probation: a network of make-believe, cut off at every write."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from piot_firstboot import link, probation, profiles, trial
from piot_firstboot.apply import OWNED
from piot_firstboot.link import Look
from piot_firstboot.render.keyfile import CERTIFICATES
from piot_firstboot.system import System
from tests.kit.fake_command import fake_command

FOLDER = "/etc/NetworkManager/system-connections"
TARGETS = (("git.test", 80),)
GOOD = {"eth": b"good"}
KIND = "networkmanager"
GONE = ("192.0.2.1",)  # a gateway that does not answer


class PowerCut(BaseException):
    """The machine went off."""


@dataclass
class World:
    """A machine and what its network does with the files it was told to use."""

    root: Path
    # What is reached with each content of the files, sorted and joined.
    reach: dict[bytes, Look] = field(default_factory=dict)
    used: dict[str, bytes] = field(default_factory=dict)
    failures: tuple[profiles.Failure, ...] = ()
    now: float = 0.0
    said: list[str] = field(default_factory=list)
    boots: int = 0
    cuts: int = -1  # so many changes until the power goes; below zero: never

    def system(self) -> System:
        """Return the machine's system."""
        made = System(str(self.root))
        made.live = True
        return made

    def files(self) -> dict[str, bytes]:
        """Return the files in place by short name."""
        found = profiles.read(System(str(self.root)), KIND)
        paths = {path: path.split("piot-") for path in found}
        return {x[1].split(".")[0]: found[path] for path, x in paths.items() if len(x) > 1}

    def boot(self) -> None:
        """Boot: NetworkManager uses what it finds."""
        self.boots += 1
        self.used = self.files()
        (self.root / "proc/sys/kernel/random").mkdir(parents=True, exist_ok=True)
        (self.root / "proc/sys/kernel/random/boot_id").write_text(f"boot-{self.boots}\n")

    def write(self, new: dict[str, bytes]) -> None:
        """Change the files as the applier does, owning what it wrote."""
        system = self.system()
        trial.begin(system, KIND)
        paths = {f"{FOLDER}/piot-{name}.nmconnection": data for name, data in new.items()}
        system.write(f"{OWNED}/conf.ethernet", "".join(f"file {p}\n" for p in paths).encode())
        profiles.put(system, KIND, paths)

    def judge(self) -> trial.Verdict | None:
        """Judge."""
        return trial.judge(self.system(), self.said.append, TARGETS)

    def leftovers(self) -> list[str]:
        """List what a trial left on disk."""
        return sorted(path.name for path in (self.root / "var/lib/piot/network").glob("*"))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Make a machine with good settings that are in use."""
    made = World(tmp_path / "root")

    def activate(
        system: System,
        kind: str,
        files: object,
        other: object,
        until: float,
        *,
        fresh: bool = False,
    ) -> tuple[profiles.Failure, ...]:
        if fresh:
            assert made.used == made.files(), "told it came up with these files, and it did not"
        made.used = made.files()
        return made.failures

    def look(system: System, targets: object, until: float) -> Look:
        return made.reach.get(b"+".join(sorted(made.used.values())), Look(link.NOTHING))

    def sleep(seconds: float) -> None:
        made.now += seconds

    monkeypatch.setattr(profiles, "activate", activate)
    monkeypatch.setattr(profiles, "running", lambda system: made.used is not None)
    monkeypatch.setattr(probation, "going_down", lambda system: False)
    monkeypatch.setattr(link, "look", look)
    monkeypatch.setattr("piot_firstboot.trial.time.monotonic", lambda: made.now)
    monkeypatch.setattr("piot_firstboot.trial.time.sleep", sleep)
    made.reach = {
        b"good": Look(link.TARGET, links=1),
        b"better": Look(link.TARGET, links=1),
        b"bad": Look(link.ADDRESS, silent=GONE, links=1),
        b"dead": Look(link.GATEWAY, links=1),
    }
    made.root.mkdir()
    made.boot()
    made.write(GOOD)
    assert made.judge()
    assert made.leftovers() == []
    return made


def test_what_works_is_kept_at_once(world: World) -> None:
    world.now = 0
    world.write({"eth": b"better"})
    verdict = world.judge()
    assert verdict == trial.Verdict(True, 3, None, "git.test port 80 answers")
    assert (world.files(), world.leftovers(), world.now) == ({"eth": b"better"}, [], 0)


def test_what_breaks_the_network_is_taken_back(world: World) -> None:
    world.write({"eth": b"bad"})
    verdict = world.judge()
    assert verdict
    assert (verdict.kept, verdict.score, verdict.former_score) == (False, 1, 3)
    assert verdict.reason == "the gateway 192.0.2.1 does not answer"
    assert world.files() == world.used == GOOD
    assert world.leftovers() == ["refused.json"]
    assert trial.refused(world.system()) == verdict
    assert world.now < 120
    # It is known until something else is tried.
    assert world.judge() is None
    assert trial.refused(world.system()) == verdict
    world.write({"eth": b"better"})
    assert trial.refused(world.system()) is None


@pytest.mark.parametrize("reach", [Look(0), Look(1, GONE, 1), Look(2, links=1)])
def test_settings_are_not_blamed_for_their_surroundings(world: World, reach: Look) -> None:
    world.reach = {b"good": reach, b"new": reach}
    world.write({"eth": b"new"})
    verdict = world.judge()
    assert verdict
    assert verdict.kept
    assert (verdict.score, verdict.former_score) == (reach.score, reach.score)
    assert world.files() == world.used == {"eth": b"new"}
    assert world.leftovers() == []


def test_a_profile_that_fails_while_another_works(world: World) -> None:
    world.reach[b"good+wlan"] = Look(link.TARGET, links=2)
    world.reach[b"good+typo"] = Look(link.TARGET, links=1)
    world.write({**GOOD, "wlan": b"wlan"})
    assert world.judge()
    world.failures = (profiles.Failure("piot-wlan", "the password is wrong", False),)
    world.write({**GOOD, "wlan": b"typo"})
    verdict = world.judge()
    assert verdict
    assert (verdict.kept, verdict.reason) == (False, "piot-wlan: the password is wrong")
    # A network that is out of reach cannot be judged: the settings for it stay.
    world.failures = (profiles.Failure("piot-wlan", "no such network", True),)
    world.write({**GOOD, "wlan": b"typo"})
    verdict = world.judge()
    assert verdict
    assert verdict.kept


def test_the_first_settings_stay_when_nothing_else_works(world: World) -> None:
    world.reach = {}
    world.write({})
    world.judge()
    world.write({"eth": b"first"})
    verdict = world.judge()
    assert verdict
    assert verdict.kept
    assert world.files() == {"eth": b"first"}
    # What connects without any settings of ours is better than nothing.
    world.reach = {b"": Look(link.GATEWAY, links=1)}
    world.write({})
    assert world.judge()
    world.write({"eth": b"first"})
    verdict = world.judge()
    assert verdict
    assert not verdict.kept
    assert world.files() == {}


def test_what_was_never_proved_is_not_kept_as_former(world: World) -> None:
    world.write({"eth": b"dead"})
    world.write({"eth": b"bad"})
    verdict = world.judge()
    assert verdict
    assert not verdict.kept
    assert world.files() == GOOD


def test_what_came_back_goes_with_the_next_settings(world: World) -> None:
    world.write({"other": b"bad"})  # without eth
    verdict = world.judge()
    assert verdict
    assert not verdict.kept
    assert world.files() == GOOD
    world.write({"other": b"better"})
    assert world.files() == {"other": b"better"}


def test_certificates_go_with_the_profiles_that_name_them(world: World) -> None:
    system, certs = world.system(), CERTIFICATES
    trial.begin(system, KIND)
    system.write(f"{certs}/old.pem", b"old", 0o600)
    assert world.judge()
    world.write({"eth": b"bad"})
    system.remove(f"{certs}/old.pem")
    system.write(f"{certs}/new.pem", b"new", 0o600)
    verdict = world.judge()
    assert verdict
    assert not verdict.kept
    assert [system.read(f"{certs}/{name}.pem") for name in ("old", "new")] == [b"old", None]
    assert world.leftovers() == ["certs", "refused.json"]


def test_nothing_is_kept_on_a_tree(tmp_path: Path) -> None:
    system = System(str(tmp_path))
    trial.begin(system, KIND)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_goes_down_decides_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.write({"eth": b"bad"})
    monkeypatch.setattr(probation, "going_down", lambda system: True)
    for _ in range(3):
        assert world.judge() is None
    assert trial.is_open(world.system())
    assert world.files() == {"eth": b"bad"}
    monkeypatch.undo()


def _cutting(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the power go before or after a change of the disk, when `cuts` have been counted."""

    def wrap(name: str) -> None:
        original: Callable[..., object] = getattr(System, name)

        def changed(self: System, *args: object, **kwargs: object) -> object:
            for moment in (0, 1):
                if world.cuts == 0:
                    world.cuts = -1
                    raise PowerCut
                world.cuts -= 1
                if moment == 0:
                    value = original(self, *args, **kwargs)
            return value

        monkeypatch.setattr(System, name, changed)

    for name in ("write", "remove", "remove_tree", "rename", "mkdir"):
        wrap(name)


@pytest.mark.parametrize(
    ("new", "end"),
    [
        ({"eth": b"better"}, {"eth": b"better"}),
        ({"eth": b"bad", "two": b"2"}, GOOD),
        ({"other": b"bad"}, GOOD),
        ({"eth": b"dead"}, {"eth": b"dead"}),
    ],
    ids=["better", "bad", "moved", "dead"],
)
@pytest.mark.parametrize("reboot", [True, False], ids=["power-cut", "killed"])
def test_cut_off_at_every_write(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    new: dict[str, bytes],
    end: dict[str, bytes],
    reboot: bool,
) -> None:
    world.reach[b"2+bad"] = Look(link.ADDRESS, silent=GONE, links=2)
    if new == {"eth": b"dead"}:
        world.reach[b"good"] = Look(link.GATEWAY, links=1)
    _cutting(world, monkeypatch)
    for cuts in itertools.count():
        world.cuts = -1
        world.write(GOOD)
        world.judge()
        assert world.files() == GOOD
        done = False  # the applier does not come back to what it finished
        world.cuts = cuts
        for _ in range(4):
            try:
                if not done:
                    world.write(new)
                    done = True
                world.judge()
            except PowerCut:
                if reboot:
                    world.boot()
                continue
            break
        assert world.files() == world.used == end, f"cut off at {cuts}"
        assert [n for n in world.leftovers() if n != "refused.json"] == [], f"cut off at {cuts}"
        if world.cuts >= 0:
            break
    assert cuts > 20


def test_settings_that_take_the_power_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def dark(*args: object, **kwargs: object) -> tuple[profiles.Failure, ...]:
        raise PowerCut

    light = profiles.activate
    world.write({"eth": b"bad"})
    for _ in range(2):
        monkeypatch.setattr(profiles, "activate", dark)
        with pytest.raises(PowerCut):
            world.judge()
        world.boot()
    monkeypatch.setattr(profiles, "activate", light)
    verdict = world.judge()
    assert verdict
    assert (verdict.kept, verdict.former_score) == (False, None)
    assert "went off 2 times" in verdict.reason
    assert world.files() == world.used == GOOD


# -- NetworkManager, as nmcli shows it ----------------------------------------------------------

KEYFILE = """\
[connection]
id=some name
uuid={uuid}
type={kind}
autoconnect-priority={priority}
{more}
[wifi]
ssid=x
"""


def keyfile(uuid: str, kind: str = "wifi", priority: int = 0, more: str = "") -> bytes:
    """Return a keyfile."""
    return KEYFILE.format(uuid=uuid, kind=kind, priority=priority, more=more).encode()


@pytest.fixture
def nmcli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return what activates files with an nmcli that does as told, and returns its calls."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")

    def run(
        new: dict[str, bytes],
        old: dict[str, bytes],
        script: str = "",
        active: str = "",
        fresh: bool = False,
        certs: dict[str, bytes] | None = None,
    ) -> list[str]:
        told = f'case "$*" in *--active) printf %s "{active}"; exit;; esac\n{script}'
        fake = fake_command(tmp_path / "bin", "nmcli", script=told)
        until = time.monotonic() + 10
        names = {f"{CERTIFICATES}/{name}": data for name, data in (certs or {}).items()}
        args = (System(str(tmp_path)), KIND, {**_paths(new), **names}, _paths(old), until)
        failures = profiles.activate(*args, fresh=fresh)
        calls = [" ".join(c.argv[1:]) for c in fake.calls() if "--active" not in c.argv]
        fake.log.unlink()
        return [*(call.replace("--wait 10 ", "") for call in calls), *map(str, failures)]

    return run


def _paths(files: dict[str, bytes]) -> dict[str, bytes]:
    return {f"{FOLDER}/piot-{name}.nmconnection": data for name, data in files.items()}


def test_only_what_changed_is_brought_up(nmcli: Callable[..., list[str]]) -> None:
    one, two = keyfile("u1", "ethernet"), keyfile("u2", "vlan")
    reload = "connection reload"
    assert nmcli({"one": one}, {}) == [reload, "connection up uuid u1"]
    assert nmcli({"one": one}, {"one": one}) == [reload]
    assert nmcli({"one": one, "two": two}, {"one": one}) == [reload, "connection up uuid u2"]
    assert nmcli({}, {"one": one}) == [reload]
    assert nmcli({"one": one}, {"one": one}, certs={"ca": b"2"}) == [reload]
    eap = keyfile("u4", more=f"ca-cert={CERTIFICATES}/ca")
    assert nmcli({"a": eap}, {"a": eap}, certs={"ca": b"2"}) == [reload, "connection up uuid u4"]
    # The fallback's access point is for when all else fails.
    assert nmcli({"ap": keyfile("u3", more="autoconnect=false")}, {}) == [reload]
    # The system came up with it.
    assert nmcli({"one": one}, {}, active="u1:activated", fresh=True) == [reload]


def test_wifi_is_tried_by_priority(nmcli: Callable[..., list[str]]) -> None:
    both = {"home": keyfile("u1", priority=1), "work": keyfile("u2", priority=5)}
    fails = 'case "$*" in *u2) echo "Error: %s" >&2; exit 4;; esac'
    up = ["connection reload", "connection up uuid u2", "connection up uuid u1"]
    assert nmcli(both, {}) == up[:2]
    reach = "Connection activation failed: The Wi-Fi network could not be found"
    wrong = "Connection activation failed: Secrets were required, but not provided."
    assert nmcli(both, {}, fails % reach) == [*up, "piot-work: no such network within reach"]
    words = "piot-work: the password is wrong, or there is none"
    assert nmcli(both, {}, fails % wrong) == [*up, words]
    # What is in use and better is not left for what is new and worse.
    new = {"home": both["home"]}
    assert nmcli({**both, **new}, {"work": both["work"]}, active="u2:activated") == up[:1]


def test_what_moved_away_is_let_go_of(nmcli: Callable[..., list[str]]) -> None:
    new, old = keyfile("u1", more="interface-name=eth7"), keyfile("u1")
    fails = 'case "$*" in *" up "*) echo "Error: No suitable device found" >&2; exit 4;; esac'
    assert nmcli({"one": new}, {"one": old}, fails, active="u1:activated") == [
        "connection reload",
        "connection up uuid u1",
        "connection down uuid u1",
        "piot-one: no interface for it is ready: no cable, or none such",
    ]


def test_netplan_shows_no_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    fake = fake_command(tmp_path / "bin", "netplan", exit=1, stderr='password: "s3cret"')
    until = time.monotonic() + 10
    failures = profiles.activate(System(str(tmp_path)), "netplan", {}, {}, until)
    assert [str(failure) for failure in failures] == ["netplan: netplan apply failed"]
    assert [call.argv for call in fake.calls()] == [("netplan", "apply")]


# -- the kernel, as ip shows it -----------------------------------------------------------------


def _kernel(
    bindir: Path, links: object, routes: object, neighbours: object, hosts: str = ""
) -> None:
    script = f"""
case "$*" in
*address*) echo '{json.dumps(links)}';;
*-4*route*) echo '{json.dumps(routes)}';;
*-6*route*) echo '[]';;
*neighbour*show*) echo '{json.dumps(neighbours)}';;
esac
"""
    fake_command(bindir, "ip", script=script)
    fake_command(bindir, "getent", stdout=hosts)


def _up(name: str, *flags: str, **address: object) -> dict[str, object]:
    info = {"family": "inet", "local": "192.0.2.2", "scope": "global", **address}
    return {"ifname": name, "flags": ["UP", "LOWER_UP", *flags], "addr_info": [info]}


ROUTE = {"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"}
ANSWERS = {"dst": "192.0.2.1", "dev": "eth0", "state": ["REACHABLE"]}


@pytest.mark.parametrize(
    ("links", "routes", "neighbours", "seen"),
    [
        ([_up("lo", "LOOPBACK")], [], [], Look(0)),
        ([_up("eth0", scope="link")], [], [], Look(0)),
        ([_up("eth0", tentative=True)], [], [], Look(0)),
        ([{**_up("eth0"), "flags": ["NO-CARRIER", "UP"]}], [ROUTE], [], Look(0)),
        ([_up("eth0")], [], [], Look(1, links=1)),
        ([_up("eth0")], [{"dst": "default", "dev": "ppp0"}], [], Look(1, links=1)),
        ([_up("eth0")], [ROUTE], [], Look(1, GONE, 1)),
        ([_up("eth0")], [ROUTE], [{**ANSWERS, "state": ["STALE"]}], Look(1, GONE, 1)),
        ([_up("eth0"), _up("eth1")], [ROUTE], [ANSWERS], Look(2, links=2)),
        ([_up("eth0")], [ROUTE, {**ROUTE, "dev": "eth1"}], [ANSWERS], Look(2, GONE, 1)),
    ],
)
def test_how_far_the_network_reaches(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    links: Sequence[object],
    routes: Sequence[object],
    neighbours: Sequence[object],
    seen: Look,
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setattr(link, "_ANSWER", 0.0)
    monkeypatch.setattr(link, "_nudge", lambda dev, gateway: None)
    _kernel(tmp_path / "bin", links, routes, neighbours)
    assert link.look(System(str(tmp_path)), (), 0) == seen


def test_a_server_is_asked_by_its_addresses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    hosts = "127.0.0.2 STREAM git.test\n127.0.0.1 STREAM\n"
    _kernel(tmp_path / "bin", [_up("eth0")], [], [], hosts)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert link.look(System(str(tmp_path)), [("git.test", port)], 0).score == link.TARGET
    assert link.look(System(str(tmp_path)), [("git.test", port)], 0).score == link.ADDRESS


def test_more_is_better() -> None:
    ladder = [
        Look(0),
        Look(1, GONE, 1),
        Look(1, links=1),
        Look(2, GONE, 1),
        Look(2, links=1),
        Look(2, links=2),
    ]
    for lower, higher in itertools.pairwise([*ladder, Look(3, GONE, 1), Look(3, links=1)]):
        assert higher.better(lower)
        assert not lower.better(higher)
        assert not higher.better(higher)
