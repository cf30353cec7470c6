"""What the keys of a manifest do on a machine: exact bytes, devices, ports, limits, pings."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from pathlib import Path

from tests.kit.machine import Machine
from tests.kit.wait import eventually
from tests.machine.test_rendered_units import RELEASE, STATE, put, runs, state, yaml_text

Machines = Callable[..., Machine]
UNITS = 8
# Notes what the kernel gave the process, before any shell had a word in it.
DUMP = """\
#!/bin/sh
base64 -w 0 /proc/$$/cmdline > $STATE_DIRECTORY/$PIOT_UNIT.argv
base64 -w 0 /proc/$$/environ > $STATE_DIRECTORY/$PIOT_UNIT.environ
cd $CREDENTIALS_DIRECTORY || exit
for name in *; do echo $name $(base64 -w 0 $name); done > $STATE_DIRECTORY/$PIOT_UNIT.secrets
"""
# Stands in for the program: what units give it and what becomes of its failure is the question.
PIOT = """\
#!/bin/sh
test "$2" = --end || echo "$@" "$(cat $CREDENTIALS_DIRECTORY/HC)" >> $STATE_DIRECTORY/pings
test "$2" = --start || echo "$@" $(id -un) $SERVICE_RESULT $EXIT_STATUS >> $STATE_DIRECTORY/pings
exit 75
"""
ODD = "\"'\\$%{}`;#=*?~&|<>()[]!^-+@, \t\n\r\x01\x1b\x7f\x85\xa0\u2028\ufeffaZ09ąß🌱"


def word(rng: random.Random) -> str:
    """Make a text of any characters that a process can be given, mostly of difficult ones."""
    chars = [
        rng.choice(ODD) if rng.random() < 0.8 else chr(rng.choice((rng.randrange(1, 0xD800), 65)))
        for _ in range(rng.randrange(0, 24))
    ]
    return "".join(chars)


def in_env_file(name: str, value: str) -> str:
    """Spell a variable in an env_file, in any of the ways that there are for its value."""
    if not set("'\n") & set(value) and len(value) % 2:
        return f"{name}='{value}'"
    escapes = {"\n": "\\n", '"': '\\"', "\\": "\\\\"}
    return f'{name}="{"".join(escapes.get(char, char) for char in value)}"'


def dumped(pi: Machine, unit: str, what: str) -> list[str]:
    """Read what a unit dumped."""
    return base64.b64decode(pi.read(f"{STATE}/{unit}.{what}")).decode().split("\0")[:-1]


def store(pi: Machine, name: str, value: bytes, *, sealed: bool) -> None:
    """Put a secret where PioT would."""
    path = f"/var/lib/piot/secrets/{name}"
    pi.write(path, value)
    if sealed:
        seal = f"systemd-creds encrypt --with-key=host --name={name} {path} {path}.cred"
        pi.sh(f"mkdir -p /var/lib/systemd; {seal} 2>&1; rm {path}")


def test_any_word_value_and_secret_arrives_byte_for_byte(machine: Machines) -> None:
    """Thousands of random texts in a few units: as words, in both environments, as secrets."""
    seed = random.randrange(1 << 32)
    rng, said = random.Random(seed), f"seed {seed}"
    pi = machine().boot()
    words = {f"j{n}": [word(rng) for _ in range(100)] for n in range(UNITS)}
    own = {unit: {f"U{n}": word(rng) for n in range(100)} for unit in words}
    filed = {f"F{n}": word(rng) for n in range(100)}
    secrets = {f"S{n}": rng.randbytes(rng.randrange(1, 3000)) for n in range(6)}
    secrets |= {"S6": b"line\n", "S7": b"\0\n\r ", "S8": b"%n $HOME\\\"'", "S9": b" "}
    for number, (name, value) in enumerate(secrets.items()):
        store(pi, name, value, sealed=bool(number % 2))
    jobs = [
        f"  {unit}: {{run: [./dump, {', '.join(map(yaml_text, given))}], once: boot,"
        f" env: {{{', '.join(f'{n}: {yaml_text(v)}' for n, v in own[unit].items())}}}}}\n"
        for unit, given in words.items()
    ]
    text = f"piot: 1\nenv_file: any.env\nsecrets: [{', '.join(secrets)}]\njobs:\n{''.join(jobs)}"
    file = "".join(f"{in_env_file(name, value)}\n" for name, value in filed.items())
    pi.write(f"{RELEASE}/dump", DUMP, 0o755)
    plain = tuple(name for number, name in enumerate(secrets) if not number % 2)
    put(pi, text, {"any.env": file}, plain)
    pi.run(["systemctl", "start", *(f"piot-app-{unit}.service" for unit in words)])
    for unit, given in words.items():
        assert dumped(pi, unit, "argv")[2:] == given, said
        wanted = {f"{name}={value}" for name, value in (own[unit] | filed).items()}
        assert wanted <= set(dumped(pi, unit, "environ")), said
        rows = [line.partition(" ") for line in pi.read(f"{STATE}/{unit}.secrets").splitlines()]
        assert {name: base64.b64decode(data) for name, _, data in rows} == secrets, said


DEVICES = """\
piot: 1
needs: {devices: [/dev/gadget]}
jobs:
  tick: {run: ./count tick, every: 1s}
  boot: {run: ./count boot, once: boot}
  device: {run: ./count device, once: device}
  commit: {run: ./count commit, once: commit}
  fails: {run: ./absent, every: 1s}
"""


def test_a_job_waits_for_its_device(machine: Machines) -> None:
    """It does not fail without, runs when it comes, by its timer while it is there, and waits."""
    pi = machine().boot()
    put(pi, DEVICES, groups=frozenset())
    pi.write(f"{RELEASE}/absent", "#!/bin/sh\nexit 1\n", 0o755)
    pi.sh("systemctl start piot-app-commit.path piot-app.target")
    eventually(lambda: state(pi, "piot-app-tick.path") == "active", 15, "the job waits")
    assert runs(pi) == {} and pi.sh("systemctl --failed --no-legend") == ""
    pi.sh("ln -s null /dev/gadget")
    eventually(lambda: runs(pi).get("tick", 0) >= 3, 20, "runs by the timer")
    assert {**runs(pi), "tick": 0} == {"boot": 1, "commit": 1, "device": 1, "tick": 0}
    # One that fails is no loop: its timer alone starts it again.
    assert state(pi, "piot-app-fails.path") in ("active", "inactive")
    pi.sh("rm /dev/gadget")
    eventually(lambda: state(pi, "piot-app-tick.path") == "active", 15, "it waits again")
    before = runs(pi)
    assert state(pi, "piot-app-tick.service") == "inactive" and runs(pi) == before
    pi.sh("ln -s null /dev/gadget")
    eventually(lambda: runs(pi)["tick"] > before["tick"], 15, "it runs again")
    pi.sh("systemctl stop piot-app.target; systemctl start piot-app.target")
    pi.reboot()
    pi.sh("ln -s null /dev/gadget")
    eventually(lambda: runs(pi)["boot"] == 2, 15, "the job of each boot")
    assert runs(pi)["device"] == 1


KEYS = """\
piot: 1
services:
  low: {run: ./status low, port: 80}
  high: {run: ./status high, port: 8080, needs: {devices: [i2c, audio]}}
  small: {run: ./status small, memory: 16M, cpu: 10%}
  reloads: {run: ./reloads}
jobs:
  told: {run: ./fails, every: 1h, ping: HC, retry: {times: 1, wait: 0}}
  address: {run: ./count address, every: 1h, ping: "https://hc.example/x?a=%20$b"}
update: {reload: {reloads: SIGUSR1}}
"""
STATUS = """\
#!/bin/sh
{ grep -E '^Cap(Eff|Bnd|Amb)' /proc/self/status | tr -d '\\n\\t'; echo; ulimit -d
echo $PIOT_PEER_WEB; id -nG; test -e /dev/console && echo whole /dev; } > $STATE_DIRECTORY/$1.tmp
mv $STATE_DIRECTORY/$1.tmp $STATE_DIRECTORY/$1
exec sleep 1000
"""
RELOADS = """\
#!/bin/sh
trap 'echo reloaded >> $STATE_DIRECTORY/runs' USR1
echo up >> $STATE_DIRECTORY/runs
while :; do sleep 0.2; done
"""


def test_ports_limits_peers_reload_and_pings(machine: Machines) -> None:
    """Capabilities, the limit of a kernel without controllers, what others advertise, signals."""
    pi = machine().boot()
    pi.write("/var/lib/piot/apps/app/peers", "PIOT_PEER_WEB=pi-2.local:80,[fe80::1]:80\n")
    pi.write("/usr/bin/piot", PIOT, 0o755)
    store(pi, "HC", b"https://hc.example/secret", sealed=True)
    for name, text in (("status", STATUS), ("reloads", RELOADS), ("fails", "#!/bin/sh\nexit 3\n")):
        pi.write(f"{RELEASE}/{name}", text, 0o755)
    put(pi, KEYS, controllers=frozenset(), groups=frozenset({"audio"}))
    services = ("low", "high", "small")
    pi.sh("systemctl start piot-app.target")
    eventually(lambda: all(pi.exists(f"{STATE}/{name}") for name in services), 20, "all said it")
    said = {name: pi.read(f"{STATE}/{name}").splitlines() for name in services}
    bind, none = f"{1 << 10:016x}", f"{0:016x}"
    peers = "pi-2.local:80,[fe80::1]:80"
    assert said["low"][0] == f"CapEff:{bind}CapBnd:{bind}CapAmb:{bind}"
    assert said["high"][0] == f"CapEff:{none}CapBnd:{none}CapAmb:{none}"
    assert said["low"][1:] == ["unlimited", peers, "piot-app"]
    assert said["high"][1:] == ["unlimited", peers, "piot-app audio", "whole /dev"]
    assert said["small"][1] == str(32 * 1024)
    assert pi.sh("systemctl show -P Nice piot-app-small") == "10"
    # A signal, and no restart.
    eventually(lambda: runs(pi).get("up") == 1, 10, "it is up")
    pid = pi.sh("systemctl show -P MainPID piot-app-reloads")
    pi.sh("systemctl reload piot-app-reloads")
    eventually(lambda: runs(pi).get("reloaded") == 1, 10, "it was told")
    assert pi.sh("systemctl show -P MainPID piot-app-reloads") == pid
    # Whoever listens is told of the start and the end, and his silence is nothing to the job.
    pi.run(["systemctl", "start", "piot-app-told.service"], check=False)
    assert pi.sh("systemctl show -P Result piot-app-told") == "exit-code"
    pi.sh("systemctl start piot-app-address.service")
    assert runs(pi)["address"] == 1
    pings = [line.split() for line in pi.read(f"{STATE}/pings").splitlines()]
    told = [line for line in pings if "--secret" in line]
    assert told[-2:] == [
        ["ping", "--start", "--secret", "HC", "https://hc.example/secret"],
        ["ping", "--end", "--secret", "HC", "root", "exit-code", "3"],
    ]
    assert [
        "ping",
        "--end",
        "--",
        "https://hc.example/x?a=%20$b",
        "piot-app",
        "success",
        "0",
    ] in pings


def test_a_wrong_clock_holds_back_calendar_jobs_and_not_the_boot(machine: Machines) -> None:
    """The timer starts after piot-clock.service; the boot does not wait for that."""
    pi = machine().boot()
    unit = Path(__file__).parents[2] / "units/piot-clock.service"
    pi.write("/etc/systemd/system/piot-clock.service", unit.read_text())
    pi.write("/usr/bin/piot", "#!/bin/sh\nwhile ! test -e /run/go; do sleep 0.2; done\n", 0o755)
    jobs = "  day: {run: ./count day, at: daily}\n  often: {run: ./count often, every: 1s}\n"
    put(pi, f"piot: 1\njobs:\n{jobs}")
    pi.reboot(wait=False)
    eventually(lambda: state(pi, "multi-user.target") == "active", 30, "multi-user.target")
    eventually(lambda: state(pi, "piot-app.target") == "active", 10, "piot-app.target")
    eventually(lambda: runs(pi).get("often", 0) > 0, 20, "what has no time of day runs")
    assert state(pi, "piot-app-day.timer") == "inactive"
    pi.sh("touch /run/go")
    eventually(lambda: state(pi, "piot-app-day.timer") == "active", 15, "the timer")
    assert "ordering cycle" not in pi.sh("journalctl -b -o cat")
