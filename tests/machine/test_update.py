"""[device], [time], [update] and [job] on machines: what the system's own tools make of them.

All offline: locales are built, apt and unattended-upgrades read our settings, systemd runs jobs.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piot_firstboot.config import parse
from piot_firstboot.facts import Facts
from piot_firstboot.items import File
from piot_firstboot.render import render_config
from tests.kit import roots
from tests.kit.machine import Machine
from tests.kit.wait import eventually

PACKAGE = Path(__file__).parents[2] / "piot_firstboot"
CASES = Path(__file__).parent.parent / "cases" / "conf"
LAYER = ("locales", "unattended-upgrades", "systemd-timesyncd", "console-setup")
PIOT = "import sys; from piot_firstboot.cli import main; sys.exit(main(sys.argv[1:]))"
PLAN = """
from piot_firstboot import firstboot
from piot_firstboot.system import System
print(*map(str, firstboot.plan(System(), everything=True)[1]), sep="\\n", end="")
"""
CONF = """\
[device]
hostname = garden
timezone = Europe/Berlin
locale = de_DE.UTF-8
keyboard = de nodeadkeys
role = sensor
labels = room=Küche
[time]
ntp = ntp.example.org
ntp = 192.0.2.1
[update]
system = security
window = 02:00-04:00
reboot = if-needed
packages = locales
[job.boot]
run = sh -c 'echo boot $PIOT_ROLE $PIOT_HOSTNAME $HOME $(pwd) >>/var/ran'
once = boot
[job.device]
run = sh -c 'echo device >>/var/ran'
once = device
[job.often]
run = sh -c 'echo often >>/var/ran'
every = 1s
[job.anna]
run = sh -c 'touch /etc/x /usr/x /tmp/x; echo anna $(id -un) $(pwd) >>$HOME/ran'
once = boot
user = anna
"""


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Return a machine on which the configuration was applied, all of it, without a network."""
    with Machine(roots.base(request.param, LAYER)) as machine:
        prepare(machine)
        machine.boot()
        machine.sh("useradd -m anna")
        # As a power cut leaves it: localedef takes no locale into such a one, ever.
        machine.write("/usr/lib/locale/locale-archive", b"")
        machine.write("/boot/firmware/piot.conf", CONF)
        piot(machine, "apply")
        piot(machine, "setup")
        yield machine


def prepare(machine: Machine) -> None:
    """Put PioT on a machine that is off, and take back what other tests want asleep."""
    shutil.copytree(PACKAGE, machine.tree / "opt/piot/piot_firstboot")
    for timer in ("apt-daily.timer", "apt-daily-upgrade.timer"):
        (machine.tree / "etc/systemd/system" / timer).unlink(missing_ok=True)


def python(machine: Machine, code: str, *args: str) -> str:
    """Run code that imports PioT."""
    env = {"PYTHONPATH": "/opt/piot"}
    done = machine.run(["python3", "-c", code, *args], env=env, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def piot(machine: Machine, *argv: str) -> str:
    """Run a verb."""
    return python(machine, PIOT, *argv)


def test_all_of_it_is_applied_and_nothing_is_left_to_do(pi: Machine) -> None:
    report = json.loads(pi.read("/var/lib/piot/report.json"))
    assert report["ok"], report
    assert {line["state"] for line in report["lines"]} <= {"applied", "unchanged"}
    assert python(pi, PLAN) == ""
    assert pi.wait_running() == "running"


def test_the_locale_is_built_and_everybodys(pi: Machine) -> None:
    assert "de_DE.utf8" in pi.sh("locale -a").split()
    days = "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag".split()
    assert pi.sh("su - anna -c 'date +%A'") in days
    lines = pi.read("/etc/locale.gen").splitlines()
    assert lines.count("de_DE.UTF-8 UTF-8") == 1
    assert "System Locale: LANG=de_DE.UTF-8" in pi.sh("localectl status")


def test_the_keyboard_is_everybodys(pi: Machine) -> None:
    said = pi.sh("localectl status")
    assert "X11 Layout: de" in said and "X11 Variant: nodeadkeys" in said
    assert pi.sh("setupcon --print-commands-only >/dev/null 2>&1; . /etc/default/keyboard; "
                 "echo $XKBLAYOUT $XKBVARIANT") == "de nodeadkeys"  # fmt: skip
    shown = pi.sh("systemctl show -P Result console-setup.service keyboard-setup.service")
    assert set(shown.split()) == {"success"}


def test_what_programs_may_know_of_the_device(pi: Machine) -> None:
    said = json.loads(pi.read("/var/lib/piot/device.json"))
    labels = {"room": "Küche"}
    assert said == {"schema": 1, "name": "garden", "role": "sensor", "labels": labels}


def test_apt_reads_our_settings_last(pi: Machine) -> None:
    dump = pi.sh("apt-config dump")
    values = dict(line.rstrip(";").split(" ", 1) for line in dump.splitlines() if " " in line)
    assert values["APT::Periodic::Unattended-Upgrade"] == '"1"'
    assert values["APT::Periodic::Update-Package-Lists"] == '"1"'
    assert values["Unattended-Upgrade::Automatic-Reboot"] == '"true"'
    patterns = [line for line in dump.splitlines() if "Origins-Pattern::" in line]
    assert len(patterns) == 4, "Debian's own patterns are gone"


def test_unattended_upgrades_takes_what_closes_holes(pi: Machine) -> None:
    said = pi.sh("unattended-upgrade --dry-run --debug 2>&1", timeout=120)
    (line,) = [line for line in said.splitlines() if "Allowed origins are:" in line]
    name = pi.release
    assert f"origin=Debian,codename={name}-security,label=Debian-Security" in line
    assert "label=Debian," not in line + "," and "Raspberry Pi Foundation" not in line


def test_the_timers_keep_to_the_window(pi: Machine) -> None:
    for timer, begin in (("apt-daily.timer", "02:00"), ("apt-daily-upgrade.timer", "03:00")):
        shown = pi.sh(
            "systemctl show -p TimersCalendar,RandomizedDelayUSec,Persistent,ActiveState,"
            f"UnitFileState,NeedDaemonReload {timer}"
        )
        assert shown.count("OnCalendar=") == 1 and f"OnCalendar=*-*-* {begin}:00 " in shown
        assert "RandomizedDelayUSec=1h" in shown and "Persistent=no" in shown
        assert "ActiveState=active" in shown and "UnitFileState=enabled" in shown
        assert "NeedDaemonReload=no" in shown
        argv = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", timer]
        assert pi.run(argv).stderr == ""


def test_timesyncd_understands_its_servers(pi: Machine) -> None:
    shown = pi.sh("systemd-analyze cat-config systemd/timesyncd.conf")
    assert "NTP=ntp.example.org 192.0.2.1" in shown
    # It does not run in a container; it reads its settings all the same before it gives up.
    log = pi.sh("timeout 2 /usr/lib/systemd/systemd-timesyncd 2>&1 || true")
    assert "50-piot.conf" not in log
    assert pi.sh("systemctl is-enabled systemd-timesyncd.service") == "enabled"


# Run by PID 1: what enters a container from outside may set the clock, which is this host's.
BEHIND = """
import sys
sys.path.insert(0, "/opt/piot")
from piot_firstboot import clock, idle
from piot_firstboot.system import System
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
assert not int(status["CapBnd"], 16) >> 25 & 1, "CAP_SYS_TIME"
print(idle.behind(""), clock.raise_to_floor(System()), clock.notes(System()), end="")
"""


def test_a_container_keeps_its_clock(pi: Machine) -> None:
    """What cannot be set is no failure."""
    year = int(pi.sh("date +%Y")) + 2
    pi.write("/boot/firmware/piot-clock", f"{year}-01-01T00:00:00Z\n")
    pi.write("/root/behind.py", BEHIND)
    said = pi.sh("systemd-run --quiet --pipe --wait python3 /root/behind.py")
    assert said == "True 0.0 ()"
    pi.sh("rm /boot/firmware/piot-clock")


def ran(pi: Machine) -> list[str]:
    """Return what the jobs of root have said."""
    return pi.read("/var/ran").splitlines()


def test_jobs_run_as_they_should(pi: Machine) -> None:
    eventually(lambda: pi.exists("/home/anna/ran"), 20, "the job of anna")
    assert pi.read("/home/anna/ran").splitlines() == ["anna anna /home/anna"]
    assert not any(map(pi.exists, ("/etc/x", "/usr/x", "/tmp/x")))
    eventually(lambda: ran(pi).count("often") > 2, 30, "the job of every second")
    said = ran(pi)
    assert said.count("boot sensor garden /root /root") == 1
    assert said.count("device") == 1
    piot(pi, "apply", "--all")
    assert ran(pi).count("boot sensor garden /root /root") == 1


def test_all_of_it_is_there_after_a_reboot(pi: Machine) -> None:
    """Trixie makes a link of /etc/default/locale at each boot."""
    before = ran(pi)
    pi.reboot()
    assert pi.sh("su - anna -c 'echo $LANG'") == "de_DE.UTF-8"
    assert python(pi, PLAN) == ""
    boot = "boot sensor garden /root /root"
    eventually(lambda: ran(pi).count(boot) == before.count(boot) + 1, 20, "the job of the boot")
    eventually(lambda: ran(pi).count("often") > before.count("often"), 20, "the timer")
    assert ran(pi).count("device") == 1


def test_a_section_that_goes_takes_all_with_it(pi: Machine) -> None:
    pi.write("/boot/firmware/piot.conf", "[job.often]\nrun = true\nevery = 1h\n")
    piot(pi, "apply")
    piot(pi, "setup")
    assert pi.sh("ls /etc/systemd/system | grep piot").split() == [
        "piot-device-often.service",
        "piot-device-often.timer",
    ]
    for path in (
        "/etc/apt/apt.conf.d/52piot",
        "/etc/systemd/system/apt-daily.timer.d",
        "/etc/systemd/timesyncd.conf.d/50-piot.conf",
        "/var/lib/piot/device.json",
    ):
        assert not pi.exists(path)
    assert "OnCalendar=*-*-* 06:00:00" in pi.sh(
        "systemctl show -p TimersCalendar apt-daily-upgrade.timer"
    )
    pi.write("/boot/firmware/piot.conf", "# nothing any more\n")
    piot(pi, "apply")
    assert pi.sh("ls /etc/systemd/system | grep piot || true") == ""
    assert "de_DE.UTF-8" in pi.sh("cat /etc/locale.conf /etc/default/locale 2>/dev/null; true")


def test_every_case_is_accepted(machine: Callable[..., Machine]) -> None:
    """The units of all jobs in tests/cases/conf say nothing that systemd does not know."""
    pi = machine().boot()
    for case in sorted(CASES.glob("job*")):
        for part in render_config(parse((case / "piot.conf").read_bytes()), Facts(host="pi")):
            for item in part.items:
                if isinstance(item, File) and "/systemd/" in item.path:
                    text = item.content.decode().replace("=/usr/local/bin/backup", "=/bin/true")
                    pi.write(f"/root/{case.name}/{Path(item.path).name}", text)
        script = (
            f"cd /root/{case.name}; export SYSTEMD_UNIT_PATH=$PWD:/usr/lib/systemd/system; "
            "systemd-analyze verify --man=no --recursive-errors=no ./* 2>&1"
        )
        assert pi.sh(script) == ""


@pytest.mark.parametrize("name", roots.RELEASES)
def test_chrony_asks_our_servers(name: str) -> None:
    text = "[time]\nntp = 192.0.2.1\nntp = 2001:db8::1\n"
    (part,) = (
        part
        for part in render_config(parse(text.encode()), Facts(ntp="chrony"))
        if part.section == "time"
    )
    with Machine(roots.base(name, ("chrony",))) as pi:
        pi.boot()
        for item in part.items:
            if isinstance(item, File):
                pi.write(item.path, item.content)
        # It may not set the clock of a container (-x).
        pi.sh("install -d -o _chrony -g _chrony /run/chrony; chronyd -x; sleep 1")
        said = pi.sh("chronyc -n sources; chronyc shutdown >/dev/null || true")
        assert "192.0.2.1" in said and "2001:db8::1" in said
