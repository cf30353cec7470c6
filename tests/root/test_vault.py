"""The store of secrets in a tree: sealed where that works, plain where not, never lost."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from piot_firstboot import (
    cli,
    commands,
    conftext,
    credential,
    handover,
    idle,
    intake,
    passwords,
    release,
    secret,
    vault,
    wake,
)
from piot_firstboot.conftext import FILL
from piot_firstboot.errors import ApplyError
from piot_firstboot.items import Credential, File
from piot_firstboot.ledger import Outcome, Row
from piot_firstboot.manifest import parse
from piot_firstboot.plan import Change, Part
from piot_firstboot.redact import secret_values
from piot_firstboot.system import System
from tests.kit.fake_command import FakeCommand, fake_command

CONF = "/boot/firmware/piot.conf"
# Seals by writing the name in front, with a key that may be taken away.
CREDS = """\
key=$(cat "$0.key" 2>/dev/null) || { echo "no key" >&2; exit 1; }
case "$1" in
encrypt) printf '%s %s ' "$key" "$3"; printf %s "$stdin" | base64 -w 0 ;;
decrypt)
    set -- "$2" $stdin
    [ "$1" = "$3" ] && [ "$2" = "$key" ] || { echo "wrong key or name" >&2; exit 1; }
    printf %s "$4" ;;
esac
"""
AWKWARD = (
    "x",
    " lead",
    "tail ",
    "$HOME %n `id` \\",
    "\"'",
    "🌱ß",
    "two\nlines\n",
    "\udcff\udc80",
    "@stored",
)


class Device:
    """A running device, as far as a tree can be one."""

    def __init__(self, root: Path, creds: FakeCommand) -> None:
        self.root, self.creds = root, creds
        root.mkdir()
        self.system = System(str(root))
        self.system.live = True
        self.system.mkdir("/boot/firmware")

    def store(self) -> dict[str, bytes]:
        """Return the files of the store."""
        folder = self.root / "var/lib/piot/secrets"
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def key(self, text: str | None) -> None:
        """Give the host a key, or take it away; what was opened before is forgotten."""
        path = Path(f"{self.creds.path}.key")
        path.unlink(missing_ok=True)
        if text is not None:
            path.write_text(text)
        vault._opened.clear()

    def conceal(self, data: bytes) -> str:
        """Take all values out of piot.conf."""
        blocks = conftext.read(data)[1]
        entries = [entry for block in blocks for entry in block.entries]
        return vault.conceal(self.system, CONF, data, entries)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    """Make a device that can seal."""
    creds = fake_command(tmp_path / "bin", "systemd-creds", script=CREDS)
    fake_command(tmp_path / "bin", "systemctl")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    made = Device(tmp_path / "root", creds)
    made.key("key")
    return made


# -- the store ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", AWKWARD)
@pytest.mark.parametrize("live", [True, False])
def test_values_survive_exactly(device: Device, value: str, live: bool) -> None:
    device.system.live = live
    assert vault.get(device.system, "KEY") is None
    assert vault.put(device.system, "KEY", value)
    vault._opened.clear()
    assert vault.get(device.system, "KEY") == value
    assert vault.sealed(device.system, "KEY") is live
    assert vault.names(device.system) == ("KEY",)
    raw = value.encode("utf-8", "surrogateescape")
    assert list(device.store().items()) == [
        ("KEY.cred", device.store()["KEY.cred"]) if live else ("KEY", raw)
    ]
    for call in device.creds.calls():
        assert value not in call.argv


def test_only_root_may_read(device: Device) -> None:
    vault.put(device.system, "A", "x")
    device.system.live = False
    vault.put(device.system, "B", "x")
    folder = device.root / "var/lib/piot/secrets"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_nothing_is_written_twice(device: Device) -> None:
    vault.put(device.system, "KEY", "one")
    before = (device.root / "var/lib/piot/secrets/KEY.cred").stat().st_ino
    assert not vault.put(device.system, "KEY", "one")
    assert (device.root / "var/lib/piot/secrets/KEY.cred").stat().st_ino == before
    assert len([c for c in device.creds.calls() if c.argv[1] == "encrypt"]) == 1
    assert vault.put(device.system, "KEY", "two")
    assert vault.get(device.system, "KEY") == "two"


def test_each_secret_is_opened_once_a_run(device: Device) -> None:
    vault.put(device.system, "KEY", "one")
    vault._opened.clear()
    for _ in range(3):
        assert vault.resolve(device.system)["KEY"] == "one"
    assert len([c for c in device.creds.calls() if c.argv[1] == "decrypt"]) == 1


@pytest.mark.parametrize("left", [b"", b"whole"])
def test_a_key_of_the_host_that_a_power_cut_emptied_is_made_anew(
    device: Device, left: bytes, tmp_path: Path
) -> None:
    """systemd-creds refuses an empty one for ever, and never makes another."""
    host = device.root / "var/lib/systemd/credential.secret"
    host.parent.mkdir(parents=True)
    host.write_bytes(left)
    refuse = f'[ ! -e {host} ] || {{ echo "Operation not permitted" >&2; exit 1; }}\n'
    device.creds = fake_command(tmp_path / "bin", "systemd-creds", script=refuse + CREDS)
    vault.put(device.system, "KEY", "value")
    assert vault.sealed(device.system, "KEY") is (left == b"")
    assert host.exists() is (left != b"")


@pytest.mark.parametrize("why", ["fails", "missing", "not live"])
def test_without_sealing_it_is_plain_and_sealed_later(
    device: Device, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if why == "fails":
        device.key(None)
    elif why == "missing":
        (tmp_path / "empty").mkdir()
        path = os.environ["PATH"]
        monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    else:
        device.system.live = False
    vault.put(device.system, "KEY", "value")
    assert device.store() == {"KEY": b"value"}
    assert vault.plain(device.system) == {"KEY"}
    assert vault.directive(device.system, "KEY") == (
        "LoadCredential",
        "KEY:/var/lib/piot/secrets/KEY",
    )
    assert not vault.put(device.system, "KEY", "value")
    if why == "missing":
        monkeypatch.setenv("PATH", path)
    device.system.live = True
    device.key("key")
    assert vault.put(device.system, "KEY", "value")
    assert list(device.store()) == ["KEY.cred"]
    assert vault.plain(device.system) == frozenset()
    assert vault.directive(device.system, "KEY") == (
        "LoadCredentialEncrypted",
        "KEY:/var/lib/piot/secrets/KEY.cred",
    )


def test_a_card_in_another_machine(device: Device) -> None:
    vault.put(device.system, "OLD", "one")
    device.key("other")
    with pytest.raises(vault.Unopenable, match="OLD cannot be opened: wrong key") as caught:
        vault.get(device.system, "OLD")
    assert "piot secret set OLD" in caught.value.hint
    # Nothing else is held up, and the new value takes its place.
    assert vault.values(device.system) == ()
    assert vault.resolve(device.system).get("OLD") is None
    vault.put(device.system, "NEW", "two")
    assert vault.get(device.system, "NEW") == "two"
    assert vault.put(device.system, "OLD", "three")
    assert dict(vault.resolve(device.system)) == {"NEW": "two", "OLD": "three"}


def test_a_sealed_secret_in_a_tree_is_not_opened_with_the_key_of_this_host(device: Device) -> None:
    vault.put(device.system, "KEY", "one")
    device.system.live = False
    with pytest.raises(vault.Unopenable, match="by the machine it is for"):
        vault.get(device.system, "KEY")
    assert vault.put(device.system, "KEY", "two")
    assert device.store() == {"KEY": b"two"}


def test_a_renamed_sealed_file_does_not_open(device: Device) -> None:
    vault.put(device.system, "A", "one")
    folder = device.root / "var/lib/piot/secrets"
    (folder / "A.cred").rename(folder / "B.cred")
    with pytest.raises(vault.Unopenable):
        vault.get(device.system, "B")


def test_drop(device: Device) -> None:
    vault.put(device.system, "KEY", "one")
    device.system.write("/var/lib/piot/secrets/KEY", b"rest of a cut off put")
    assert vault.get(device.system, "KEY") == "one"
    assert vault.drop(device.system, "KEY")
    assert not vault.drop(device.system, "KEY")
    assert not device.system.exists("/var/lib/piot/secrets"), "nothing is left of it"


@pytest.mark.parametrize(
    "name",
    ["", "..", "a/b", "../x", ".hidden", "a:b", "é", "x.cred", pytest.param("a" * 201, id="long")],
)
def test_names_that_cannot_be(device: Device, name: str) -> None:
    with pytest.raises(ApplyError, match="there can be no secret called"):
        vault.put(device.system, name, "x")
    assert vault.get(device.system, name) is None
    assert not vault.drop(device.system, name)


# -- piot.conf ----------------------------------------------------------------------------------

TEXT = b"\xef\xbb\xbf[secrets]\r\nA = one\r\n# note\r\nB='two'\r\n"
DONE = b"\xef\xbb\xbf[secrets]\r\nA = @stored\r\n# note\r\nB='@stored'\r\n"


@pytest.fixture
def conf(device: Device) -> Path:
    """Write a piot.conf."""
    device.system.write(CONF, TEXT)
    vault.put(device.system, "A", "one")
    return device.root / CONF[1:]


def test_values_are_overwritten_where_they_lie_and_then_replaced(
    device: Device, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    inode = conf.stat().st_ino
    write = System.write

    def watch(system: System, path: str, data: bytes) -> None:
        seen.append((conf.read_bytes(), conf.stat().st_ino == inode))
        write(system, path, data)

    monkeypatch.setattr(System, "write", watch)
    assert device.conceal(TEXT) == ""
    fill = FILL.encode() * 3
    assert seen == [(TEXT.replace(b"one", fill).replace(b"two", fill), True)]
    assert conf.read_bytes() == DONE
    assert device.system.names("/boot/firmware") == ("piot.conf",)


def test_a_file_that_was_edited_meanwhile_is_left_alone(device: Device, conf: Path) -> None:
    for edited in (TEXT + b"C = x\r\n", TEXT[:-1], TEXT.replace(b"one", b"two")):
        conf.write_bytes(edited)
        assert "edited meanwhile" in device.conceal(TEXT)
        assert conf.read_bytes() == edited
    conf.unlink()
    assert "No such file" in device.conceal(TEXT)


def test_a_read_only_partition(device: Device, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(System, "overwrite", refuse)
    assert device.conceal(TEXT).endswith("could not be overwritten: Read-only file system")
    assert conf.read_bytes() == TEXT


def test_a_full_partition_keeps_the_mask(
    device: Device, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(System, "write", refuse)
        assert "not yet replaced: No space left" in device.conceal(TEXT)
    left = conf.read_bytes()
    assert len(left) == len(TEXT) and b"one" not in left and b"two" not in left
    # The next run, with room again, completes it.
    assert device.conceal(left) == ""
    assert conf.read_bytes() == DONE


def test_nothing_is_overwritten_before_the_store_is_on_disk(
    device: Device, conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ApplyError("sync: Input/output error")

    monkeypatch.setattr(System, "sync", refuse)
    assert "Input/output error" in device.conceal(TEXT)
    assert conf.read_bytes() == TEXT
    assert "Input/output error" in vault.erase(device.system, CONF)
    assert conf.read_bytes() == TEXT


def test_erase(device: Device, conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inode = os.open(conf, os.O_RDONLY)
    assert vault.erase(device.system, CONF) == ""
    assert os.read(inode, 1000) == bytes(len(TEXT))
    os.close(inode)
    assert not conf.exists()
    assert vault.erase(device.system, CONF) == ""


# -- units and apps -----------------------------------------------------------------------------

MANIFEST = b"piot: 1\nsecrets: [A, B]\nservices: {web: {run: x, shell: true}}\n"


def test_units_name_the_secrets_as_they_lie(device: Device) -> None:
    device.system.write("/usr/lib/os-release", b"VERSION_CODENAME=trixie\n")
    device.system.write("/etc/hostname", b"pi\n")
    vault.put(device.system, "A", "x")
    with pytest.raises(release.Lacking, match="not on this device: B"):
        _load(device)
    device.system.live = False
    vault.put(device.system, "B", "x")
    assert _load(device) == [
        "LoadCredentialEncrypted=A:/var/lib/piot/secrets/A.cred",
        "LoadCredential=B:/var/lib/piot/secrets/B",
    ]
    # A commit is not to blame for what the device cannot open.
    device.system.live = True
    device.key("other")
    with pytest.raises(release.Lacking, match="A cannot be opened"):
        release._need(device.system, ("A", "B"))


def _load(device: Device) -> list[str]:
    items = release.render(device.system, "app", "c0ffee", parse(MANIFEST))
    text = next(
        i.content.decode() for i in items if isinstance(i, File) and b"ExecStart" in i.content
    )
    return [line for line in text.splitlines() if line.startswith("LoadCredential")]


def _app(device: Device) -> None:
    device.system.write("/var/lib/piot/apps/garden/app.json", b"{}")
    device.system.write("/var/lib/piot/owned/app.garden", b"file /etc/systemd/system/x.service\n")
    device.system.write("/run/piot/poll/garden", b"")


def _marks(device: Device) -> list[str]:
    lines = (device.system.read("/var/lib/piot/owned/app.garden") or b"").decode().splitlines()
    return [line for line in lines if line.startswith("pending")]


@pytest.mark.parametrize(
    ("changes", "marks"),
    [
        ([Change("change", "secret A", Credential("A", "x"))], ["/var/lib/piot/secrets/A"]),
        ([Change("remove", "secret A")], ["/var/lib/piot/secrets/A"]),
        ([Change("change", "file /etc/hostname", File("/etc/hostname", b""))], ["/etc/hostname"]),
        ([Change("change", "file /etc/motd", File("/etc/motd", b""))], []),
        ([], []),
    ],
)
def test_a_change_wakes_the_apps(
    device: Device, changes: Sequence[Change], marks: list[str]
) -> None:
    _app(device)
    wake.changed(device.system, changes)
    assert _marks(device) == [f"pending {path}" for path in marks]
    assert device.system.exists("/run/piot/poll/garden") is not bool(marks)


# -- the verb -----------------------------------------------------------------------------------


def _said(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    return out + err


def _run(device: Device, monkeypatch: pytest.MonkeyPatch, *words: str, stdin: bytes = b"") -> int:
    """Run `piot secret` on the device."""
    monkeypatch.setattr(commands, "_system", lambda args, verb: device.system)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    return cli.main(["secret", *words])


@pytest.mark.parametrize(
    ("stdin", "raw", "value"),
    [
        (b"x\n", False, "x"),
        (b"x\r\n", False, "x"),
        (b"x\n\n", False, "x\n"),
        (b" x \r", False, " x \r"),
        (b"x\n", True, "x\n"),
        (b"\xff", False, "\udcff"),
        pytest.param(b"x" * 32768 + b"\n", False, "x" * 32768, id="32KiB"),
    ],
)
def test_set_takes_what_is_piped(
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stdin: bytes,
    raw: bool,
    value: str,
) -> None:
    _app(device)
    words = ("set", "KEY", *(["--raw"] if raw else []))
    assert _run(device, monkeypatch, *words, stdin=stdin) == 0
    assert _said(capsys) == "KEY is stored, sealed\n"
    vault._opened.clear()
    assert vault.get(device.system, "KEY") == value
    assert _marks(device) == ["pending /var/lib/piot/secrets/KEY"]
    assert _run(device, monkeypatch, *words, stdin=stdin) == 0
    assert "already" in _said(capsys)


def test_set_at_a_terminal_asks_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    answers = iter(["one ", "one ", "one", "two"])
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(secret, "getpass", lambda prompt: next(answers))
    assert secret.ask("KEY") == "one "
    with pytest.raises(ApplyError, match="not the same"):
        secret.ask("KEY")


@pytest.mark.parametrize(
    ("name", "stdin", "message"),
    [
        ("KEY", b"", "KEY has no value"),
        ("KEY", b"\n", "KEY has no value"),
        pytest.param("KEY", b"x" * 32769, "at most 32 KiB", id="too long"),
        ("my-key", b"x", "write my_key"),
        ("device.hostname", b"x", "piot.conf has no secret device.hostname"),
        ("nothing.password", b"x", "piot.conf has no secret nothing.password"),
        ("secrets.KEY", b"x", "piot.conf has no secret secrets.KEY"),
    ],
)
def test_set_refuses(
    device: Device,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    stdin: bytes,
    message: str,
) -> None:
    assert _run(device, monkeypatch, "set", name, stdin=stdin) == 1
    assert message in _said(capsys)
    assert vault.names(device.system) == ()


def test_set_refuses_what_piot_conf_would_undo(
    device: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device.system.write(CONF, b"[secrets]\nKEY = one\nSEEN = @stored\n")
    assert _run(device, monkeypatch, "set", "KEY", stdin=b"two") == 1
    assert "line 2 of piot.conf has a value for KEY" in _said(capsys)
    assert _run(device, monkeypatch, "set", "SEEN", stdin=b"two") == 0


def test_list_and_remove(
    device: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(device, monkeypatch, "list") == 0
    assert _said(capsys) == "there is no secret on this device\n"
    device.system.write(CONF, b"[secrets]\n\nINFILE = @stored\n")
    unit = "/etc/systemd/system/piot-garden-web.service"
    path = "BYHAND:/var/lib/piot/secrets/BYHAND.cred"
    device.system.write(unit, f"[Service]\nLoadCredentialEncrypted={path}\n".encode())
    vault.put(device.system, "GONE", "hunter2")
    device.key("other")
    vault.put(device.system, "INFILE", "hunter2")
    vault.put(device.system, "BYHAND", "hunter2")
    device.system.write(credential.path("PLAIN", sealed=False), b"hunter2", 0o600)
    assert _run(device, monkeypatch, "list") == 0
    assert _said(capsys).splitlines() == [
        "BYHAND  sealed  by hand  piot-garden-web.service",
        "GONE    sealed elsewhere  by hand",
        "INFILE  sealed  piot.conf line 3",
        "PLAIN   plain  by hand",
    ]
    assert _run(device, monkeypatch, "list", "--json") == 0
    said = _said(capsys)
    assert "hunter2" not in said
    assert json.loads(said)["secrets"][0] == {
        "name": "BYHAND",
        "sealed": True,
        "opens": True,
        "line": 0,
        "units": ["piot-garden-web.service"],
    }
    assert _run(device, monkeypatch, "rm", "INFILE") == 1
    assert "line 3 of piot.conf names INFILE" in _said(capsys)
    assert _run(device, monkeypatch, "rm", "BYHAND") == 0
    assert _said(capsys) == "BYHAND is removed; it is missed by piot-garden-web.service\n"
    assert _run(device, monkeypatch, "rm", "BYHAND") == 1
    assert "there is: GONE, INFILE, PLAIN" in _said(capsys)


def test_a_setting_may_be_set_before_piot_conf_names_it(
    device: Device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from piot_firstboot import settings

    names = [f"{r.section}.{r.key}" for r in settings.SETTINGS if r.stored and r.key == "token"]
    if not names:
        pytest.skip("no setting is kept in the store yet")
    device.system.write(idle.BOOT_STAMP, b"x")
    assert _run(device, monkeypatch, "set", names[0], stdin=b"an-access-token\n") == 0
    assert "@stored below [app] in piot.conf, and run: sudo piot apply" in _said(capsys)
    assert vault.get(device.system, names[0]) == "an-access-token"
    assert not device.system.exists(idle.BOOT_STAMP), "the next boot takes it up"
    assert _run(device, monkeypatch, "set", names[0], stdin=b"two\nlines") == 1
    assert "one line without control characters" in _said(capsys)


# -- what apply moves there ---------------------------------------------------------------------

EAP = b"""\
[wifi]
ssid = campus
country = DE
security = eap
eap = tls
identity = pi
client_cert = device.pem
client_key = device.key
[user]
name = ada
password = correct horse
"""
PRIVATE = b"-----BEGIN PRIVATE KEY-----\n\xff\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def campus(device: Device) -> Device:
    """Put a piot.conf with a private key beside it on the boot partition."""
    device.system.write(CONF, EAP)
    device.system.write("/boot/firmware/device.pem", b"certificate")
    device.system.write("/boot/firmware/device.key", PRIVATE)
    device.system.write("/usr/sbin/NetworkManager", b"", 0o755)
    return device


def test_a_private_key_leaves_the_boot_partition_and_comes_again_from_the_store(
    campus: Device,
) -> None:
    taken = intake.read(campus.system, CONF)
    assert handover.conceal(campus.system, taken, ()) == ""
    assert b"client_key = @stored\n" in (campus.system.read(CONF) or b"")
    assert not campus.system.exists("/boot/firmware/device.key")
    assert campus.system.read("/boot/firmware/device.pem") == b"certificate"
    again = intake.read(campus.system, CONF)
    assert again.facts.files["wifi.client_key"] == PRIVATE
    assert [part.items for part in again.parts if part.section == "wifi"] == [
        part.items for part in taken.parts if part.section == "wifi"
    ]


@pytest.mark.parametrize("left", [PRIVATE, b"\0" * len(PRIVATE), PRIVATE[:9] + b"\0" * 47, None])
def test_cut_off_while_a_private_key_is_erased(campus: Device, left: bytes | None) -> None:
    """The name still stands in piot.conf; what is left of the file is not taken for a key."""
    vault.put(campus.system, "wifi.client_key", vault.as_text(PRIVATE))
    campus.system.remove("/boot/firmware/device.key")
    if left is not None:
        campus.system.write("/boot/firmware/device.key", left[: len(PRIVATE)])
    taken = intake.read(campus.system, CONF)
    assert taken.facts.files["device.key"] == PRIVATE
    assert handover.conceal(campus.system, taken, ()) == ""
    assert vault.get(campus.system, "wifi.client_key") == vault.as_text(PRIVATE)
    assert not campus.system.exists("/boot/firmware/device.key")


def test_a_new_private_key_takes_the_place_of_the_stored_one(campus: Device) -> None:
    vault.put(campus.system, "wifi.client_key", "former")
    taken = intake.read(campus.system, CONF)
    assert taken.facts.files["device.key"] == PRIVATE


DEPLOY = b"""\
[app]
repo = git@git.example.org:ada/garden.git
deploy_key = garden.txt
"""


@pytest.fixture
def deployed(device: Device, tmp_path: Path) -> tuple[Device, str]:
    """Put a piot.conf with a deploy key beside it, as Windows saves it; return the key too."""
    made = tmp_path / "made"
    words = ("-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(made))
    assert device.system.run(("ssh-keygen", *words)).code == 0
    device.system.write(CONF, DEPLOY)
    as_saved = b"\xef\xbb\xbf" + made.read_bytes().replace(b"\n", b"\r\n").rstrip()
    device.system.write("/boot/firmware/garden.txt", as_saved)
    return device, made.read_text()


def _given(system: System) -> list[tuple[str, str]]:
    parts = intake.read(system, CONF).parts
    items = (item for part in parts for item in part.items)
    return [(item.name, item.value) for item in items if isinstance(item, Credential)]


def test_a_deploy_key_is_moved_to_the_store_as_ssh_reads_it(
    deployed: tuple[Device, str],
) -> None:
    device, key = deployed
    taken = intake.read(device.system, CONF)
    assert handover.conceal(device.system, taken, ()) == ""
    assert b"deploy_key = @stored\n" in (device.system.read(CONF) or b"")
    assert device.system.names("/boot/firmware") == ("piot.conf",)
    assert vault.get(device.system, "app.deploy_key") == key
    assert _given(device.system) == [("app.deploy_key", key)]
    assert secret_values(taken.config) == (), "the name of a file is no secret"


def test_a_key_file_of_two_apps_stays_until_both_have_it(deployed: tuple[Device, str]) -> None:
    device, key = deployed
    other = DEPLOY.replace(b"[app]", b"[app.shed]").replace(b"/garden.git", b"/shed.git")
    device.system.write(CONF, DEPLOY + other)
    taken = intake.read(device.system, CONF)
    part = next(part for part in taken.parts if part.section == "app.shed")
    failed = Outcome(part, Row("", "failed"))
    assert handover.conceal(device.system, taken, (failed,)) == ""
    assert device.system.exists("/boot/firmware/garden.txt")
    assert device.system.read(CONF) == DEPLOY + other
    assert handover.conceal(device.system, intake.read(device.system, CONF), ()) == ""
    assert not device.system.exists("/boot/firmware/garden.txt")
    assert (device.system.read(CONF) or b"").count(b"@stored") == 2
    assert dict(_given(device.system)) == {"app.deploy_key": key, "app.shed.deploy_key": key}


@pytest.mark.parametrize("zeros", [0, 40, 4096])
def test_cut_off_while_a_deploy_key_is_erased(deployed: tuple[Device, str], zeros: int) -> None:
    device, key = deployed
    vault.put(device.system, "app.deploy_key", key)
    left = device.system.read("/boot/firmware/garden.txt") or b""
    gone = min(zeros, len(left))
    device.system.write("/boot/firmware/garden.txt", bytes(gone) + left[gone:])
    assert _given(device.system) == [("app.deploy_key", key)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "garden.txt is not there"),
        (b"ssh-ed25519 AAAAC3Nz ada@laptop\n", "garden.txt holds the public half"),
        (b"\xff\xfe-\0-\0", "garden.txt holds no private key"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\n", "garden.txt is in PuTTY's own format"),
    ],
)
def test_a_deploy_key_that_is_none_keeps_back_the_app(
    deployed: tuple[Device, str], data: bytes | None, reason: str
) -> None:
    device, _ = deployed
    device.system.remove("/boot/firmware/garden.txt")
    if data is not None:
        device.system.write("/boot/firmware/garden.txt", data)
    part = next(p for p in intake.read(device.system, CONF).parts if p.section == "app")
    assert part.obstacle and part.obstacle.reason == reason and part.obstacle.hint


def test_a_deploy_key_may_be_piped_in(
    deployed: tuple[Device, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    device, key = deployed
    device.system.write(CONF, DEPLOY.replace(b"garden.txt", b"@stored"))
    words = ("set", "app.deploy_key")
    assert _run(device, monkeypatch, *words, stdin=b"garden.txt\n") == 1
    assert "app.deploy_key is the key itself" in _said(capsys)
    assert _run(device, monkeypatch, *words, stdin=b"-----BEGIN RSA PRIVATE KEY-----\nMII") == 1
    assert "app.deploy_key is not complete" in _said(capsys)
    body = "".join(key.splitlines()[1:-1])
    for given in (key.replace("\n", "\r\n"), body):
        vault.drop(device.system, "app.deploy_key")
        assert _run(device, monkeypatch, *words, stdin=given.encode()) == 0
        assert _given(device.system) == [("app.deploy_key", key)]


def test_a_password_set_by_hand_is_kept_as_its_hash(campus: Device) -> None:
    campus.system.write(CONF, b"[user]\nname = ada\npassword = @stored\n")
    vault.put(campus.system, "user.password", "correct horse")
    taken = intake.read(campus.system, CONF)
    assert handover.conceal(campus.system, taken, ()) == ""
    kept = vault.get(campus.system, "user.password") or ""
    assert kept.startswith("$y$") and passwords.fits("correct horse", kept)


def test_what_a_section_had_in_the_store_leaves_with_it(campus: Device) -> None:
    taken = intake.read(campus.system, CONF)
    for name in ("wifi.password", "wifi.home.password", "API_KEY"):
        vault.put(campus.system, name, "value")
    gone = Outcome(Part("wifi.home", ()), Row("", "applied"))
    refused = Outcome(Part("wifi", ()), Row("", "failed"))
    handover.forget(campus.system, taken, (gone, refused))
    assert vault.names(campus.system) == ("API_KEY", "wifi.password")
