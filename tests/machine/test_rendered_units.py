"""Rendered units under the real systemd of both releases: exact words, sandbox, once, every."""

from __future__ import annotations

import base64
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from piot_firstboot.items import File, Item, Symlink
from piot_firstboot.manifest import parse
from piot_firstboot.render.app_units import Release, render_app
from tests.kit.machine import Machine
from tests.kit.wait import eventually
from tests.unit.test_cases_manifest import GOOD, render

Machines = Callable[..., Machine]
SYSTEMD = {"bookworm": 252, "trixie": 257}
KINDS = ("commit", "device", "boot")
RELEASE = "/var/lib/piot/apps/app/releases/c0ffee"
STATE = "/var/lib/piot-app"
NASTY = [chr(c) * 2 for c in range(1, 128)]
NASTY += ["", " ", "${HOME}", "%n%%", "\\x41", "zażółć 🌱", "-"]
# What the kernel gave the process, before any shell had a word in it.
PROBE = """#!/bin/sh
cat /proc/$$/cmdline > $STATE_DIRECTORY/argv
cat /proc/$$/environ > $STATE_DIRECTORY/environ
"""
COUNT = '#!/bin/sh\necho "$1" >> $STATE_DIRECTORY/runs\n'
SANDBOX = """#!/bin/bash
exec 3>&1 > $STATE_DIRECTORY/sandbox 2>&1
echo user $(id -un) $(pwd)
echo secret $(cat $CREDENTIALS_DIRECTORY/KEY)
echo cpu $(grep -c ^processor /proc/cpuinfo)
for path in $PWD /etc /home /var/lib /usr/bin; do
touch $path/x 2>/dev/null && echo wrote $path; done
for path in $STATE_DIRECTORY $CACHE_DIRECTORY $RUNTIME_DIRECTORY /tmp; do
touch $path/x && echo can write $path; done
(exec 4<>/dev/tcp/127.0.0.1/9) 2>&1 | grep -o "Connection refused" | sort -u
echo said to the journal >&3
echo environment $PIOT_APP $PIOT_COMMIT $PIOT_UNIT $PIOT_HOSTNAME
echo capabilities $(grep CapEff /proc/self/status | cut -f 2)
"""


def put(
    pi: Machine,
    manifest: str | bytes,
    files: dict[str, str] | None = None,
    plain: tuple[str, ...] = ("KEY",),
    **facts: Any,
) -> tuple[Item, ...]:
    """Install the units of a manifest, and programs for them, without PioT.

    `files` are those of the release that an env_file may be; `plain` names secrets that are not
    sealed.
    """
    data = manifest.encode() if isinstance(manifest, str) else manifest
    release = Release(
        app="app",
        commit="c0ffee",
        path=RELEASE,
        hostname="pi",
        systemd=SYSTEMD[pi.release],
        resolve=lambda word, directory: f"{RELEASE}/{word.removeprefix('./')}",
        read=lambda path: (files or {})[path].encode(),
        plain=frozenset(plain),
        **facts,
    )
    items = render_app(parse(data), release)
    for item in items:
        if isinstance(item, File):
            pi.write(item.path, item.content)
        elif isinstance(item, Symlink):
            path = shlex.quote(item.path)
            pi.sh(f"mkdir -p $(dirname {path}); ln -sfn {shlex.quote(item.target)} {path}")
    for name, text in (("probe", PROBE), ("count", COUNT), ("sandbox", SANDBOX)):
        pi.write(f"{RELEASE}/{name}", text, 0o755)
    pi.sh("id -u piot-app >/dev/null 2>&1 || useradd -r -d /var/lib/piot-app piot-app")
    pi.sh("install -d -m 700 /var/lib/piot/secrets; echo hush > /var/lib/piot/secrets/KEY")
    pi.sh("chmod 755 /var/lib/piot /var/lib/piot/apps; systemctl daemon-reload")
    return items


def seen(pi: Machine, name: str) -> list[str]:
    """Read what the kernel listed, exactly: as base64, for a pipe may change line ends."""
    data = base64.b64decode(pi.sh(f"base64 {STATE}/{name}"))
    return data.decode().split("\0")[:-1]


def runs(pi: Machine) -> dict[str, int]:
    """Count how often each job ran."""
    lines = pi.sh(f"cat {STATE}/runs 2>/dev/null || true").split()
    return {name: lines.count(name) for name in sorted(set(lines))}


def state(pi: Machine, unit: str) -> str:
    """Return the ActiveState of a unit."""
    return pi.sh(f"systemctl is-active {unit} || true")


def yaml_text(text: str) -> str:
    """Spell a text in double quotes of YAML."""
    return '"' + "".join(f"\\U{ord(char):08x}" for char in text) + '"'


def test_words_and_variables_arrive_byte_for_byte(machine: Machines) -> None:
    pi = machine().boot()
    listed = ", ".join(map(yaml_text, NASTY))
    env = ", ".join(f"V{n}: {yaml_text(word)}" for n, word in enumerate(NASTY))
    put(pi, f"piot: 1\nenv: {{{env}}}\njobs:\n  j: {{run: [./probe, {listed}], once: boot}}\n")
    pi.sh("systemctl start piot-app-j.service")
    assert seen(pi, "argv")[2:] == NASTY
    environ = seen(pi, "environ")
    assert {f"V{n}={word}" for n, word in enumerate(NASTY)} <= set(environ)


def test_variables_and_attempts_of_a_command_line(machine: Machines) -> None:
    pi = machine().boot()
    text = """\
piot: 1
env: {A: "1  2", B: "$A %n"}
jobs:
  j:
    run: ./probe $A "x${A}y$B" '$A' $$A $NONE
    once: boot
    retry: {times: 2, wait: 0}
"""
    put(pi, text)
    pi.sh("systemctl start piot-app-j.service")
    assert seen(pi, "argv")[2:] == ["1  2", "x1  2y$A %n", "$A", "$A", ""]


def test_the_sandbox_lets_an_app_work_and_nothing_else(machine: Machines) -> None:
    pi = machine(hostname="pi").boot()
    put(pi, "piot: 1\nsecrets: [KEY]\njobs:\n  j: {run: ./sandbox, once: boot}\n")
    pi.sh("systemctl start piot-app-j.service")
    said = pi.read(f"{STATE}/sandbox").splitlines()
    assert int(said.pop(2).removeprefix("cpu ")) > 0
    assert said == [
        f"user piot-app {RELEASE}",
        "secret hush",
        f"can write {STATE}",
        "can write /var/cache/piot-app",
        "can write /run/piot-app",
        "can write /tmp",
        "Connection refused",
        "environment app c0ffee j pi",
        "capabilities 0000000000000000",
    ]
    assert not pi.exists("/tmp/x")
    pi.sh("journalctl --sync")
    assert "said to the journal" in pi.sh("journalctl PIOT_COMMIT=c0ffee PIOT_APP=app -t app-j")


def test_once_means_once(machine: Machines) -> None:
    pi = machine().boot()
    jobs = "".join(f"  {kind}: {{run: ./count {kind}, once: {kind}}}\n" for kind in KINDS)
    put(pi, f"piot: 1\njobs:\n{jobs}")
    pi.sh("systemctl start piot-app-commit.service piot-app.target")
    eventually(lambda: len(runs(pi)) == 3, 10, "all jobs ran")
    assert runs(pi) == {"boot": 1, "commit": 1, "device": 1}
    # A second deploy in the same boot: only the commit's own job runs again.
    pi.sh("systemctl daemon-reload; systemctl start piot-app-commit.service piot-app.target")
    assert pi.exists("/var/lib/piot/apps/app/done/device")
    assert runs(pi) == {"boot": 1, "commit": 2, "device": 1}
    pi.reboot()
    eventually(lambda: runs(pi)["boot"] == 2, 10, "the boot job ran again")
    assert runs(pi) == {"boot": 2, "commit": 2, "device": 1}


def test_a_long_job_at_boot_does_not_hold_the_boot_up(machine: Machines) -> None:
    pi = machine().boot()
    put(pi, "piot: 1\njobs:\n  slow: {run: sleep 100, shell: true, once: boot}\n")
    pi.reboot(wait=False)
    # systemd says "starting" as long as any job of the first boot runs; what people wait for is
    # reached.
    eventually(lambda: state(pi, "multi-user.target") == "active", 30, "multi-user.target")
    eventually(lambda: state(pi, "piot-app.target") == "active", 10, "piot-app.target")
    eventually(lambda: state(pi, "piot-app-slow.service") == "activating", 10, "the job")


def test_a_job_runs_soon_and_then_every_interval(machine: Machines) -> None:
    pi = machine().boot()
    jobs = "  j: {run: ./count j, every: 2s}\n  day: {run: ./count d, at: daily}\n"
    put(pi, f"piot: 1\njobs:\n{jobs}")
    pi.sh("systemctl start piot-app.target")
    time.sleep(3)
    assert runs(pi) == {}
    time.sleep(10)
    assert 3 <= runs(pi)["j"] <= 6
    assert "piot-app-day.timer" in pi.sh("systemctl list-timers --all 'piot-*'")
    # A reload keeps the rhythm, a stop of the target ends it.
    pi.sh("systemctl daemon-reload; systemctl stop piot-app.target")
    # One that was in flight ends in its own time.
    eventually(lambda: pi.sh("systemctl is-active piot-app-j || true") == "inactive", 10, "its end")
    before = runs(pi)
    time.sleep(3)
    assert runs(pi) == before


def test_a_service_starts_again_whenever_it_dies(machine: Machines) -> None:
    pi = machine().boot()
    put(pi, "piot: 1\nservices:\n  s: {run: 'echo x >> $STATE_DIRECTORY/runs', shell: true}\n")
    pi.sh("systemctl start piot-app.target")
    expected = 5 if pi.release == "trixie" else 2
    eventually(lambda: runs(pi).get("x", 0) >= expected, 45, "restarts")
    assert pi.sh("systemctl is-failed piot-app-s.service || true") != "failed"


def test_every_case_is_accepted(machine: Machines) -> None:
    pi = machine().boot()
    tight = []
    for number, case in enumerate(GOOD):
        items = render(
            case,
            SYSTEMD[pi.release],
            app=f"case{number}",
            resolve=lambda word, directory: "/usr/bin/true",
        )
        for item in items:
            if isinstance(item, File) and item.path.startswith("/etc/systemd/"):
                name = Path(item.path).name
                pi.write(f"/root/units/{name}", item.content)
                if b"\nUser=" in item.content:  # the others are root's, without a sandbox
                    tight.append(name)
    where = "cd /root/units; export SYSTEMD_UNIT_PATH=/root/units:/usr/lib/systemd/system"
    said = pi.sh(f"{where}; systemd-analyze verify --man=no --recursive-errors=no ./* 2>&1")
    assert said == ""
    units = " ".join(f"./{name}" for name in tight)
    pi.sh(f"{where}; systemd-analyze security --offline=yes --threshold=25 --no-pager {units}")
