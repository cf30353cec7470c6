"""PioT's own units and its launcher, on a booted machine of each release."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit import deb, roots
from tests.kit.machine import Machine
from tests.kit.wait import eventually

UNITS = sorted(
    path.name
    for path in Path(deb.CHECKOUT, "units").iterdir()
    if path.suffix not in (".preset", ".d")
)

pytestmark = pytest.mark.machine

# Stands in for the program: what the units themselves do is the question here.
STUB = '#!/bin/sh\necho "$@" "$(date +%s.%N)" >>/var/lib/ran\n'


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest) -> Iterator[Machine]:
    with Machine(deb.machine_root(request.param, deb.deb())) as machine:
        machine.write("/usr/bin/piot", STUB, 0o755)
        yield machine.boot()


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_has_nothing_to_say_about_a_unit(pi: Machine, unit: str) -> None:
    name = unit.replace("@.", "@garden.")
    done = pi.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", name])
    assert done.stdout + done.stderr == ""


def test_the_boot_has_no_cycle_and_the_right_order(pi: Machine) -> None:
    log = pi.sh("journalctl -b -o cat")
    assert "ordering cycle" not in log
    assert pi.read("/var/lib/ran").split()[0] == "firstboot"

    def moment(unit: str, when: str) -> int:
        return int(pi.sh(f"systemctl show -P {when}TimestampMonotonic {unit}"))

    assert "piot-bootguard.service" in pi.sh("systemctl show -P Wants sysinit.target")
    assert pi.sh("systemctl show -P ConditionResult piot-bootguard") == "no"

    done = moment("piot-firstboot.service", "ExecMainExit")
    assert done > 0
    # The conditions of its start were looked at, without a process.
    guarded = pi.sh("systemctl show -P ConditionTimestampMonotonic piot-bootguard")
    assert 0 < int(guarded) <= moment("sysinit.target", "ActiveEnter")
    assert done <= moment("network-pre.target", "ActiveEnter")
    assert done <= moment("ssh.service", "ExecMainStart")
    assert done <= moment("systemd-user-sessions.service", "ExecMainStart")


def test_a_timer_polls_soon_and_then_at_its_interval(pi: Machine) -> None:
    """What piot.conf makes of `poll = 3s`, with a shorter start so that the test need not wait."""
    name = "piot-deploy@garden.timer"
    pi.write(
        f"/etc/systemd/system/{name}.d/poll.conf",
        "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nOnUnitInactiveSec=3s\nRandomizedDelaySec=0\n",
    )
    pi.run(["systemctl", "start", name])
    began = float(pi.sh("date +%s.%N"))

    def polls() -> list[float]:
        lines = pi.read("/var/lib/ran").splitlines()
        return [
            float(line.split()[2]) - began for line in lines if line.startswith("deploy garden")
        ]

    eventually(lambda: len(polls()) >= 3, 20, "three polls", 0.2)
    first, second, third = polls()[:3]
    assert 0.5 < first < 3
    assert 2.9 < second - first < 4.9
    assert 2.9 < third - second < 4.9
    pi.run(["systemctl", "stop", name])


def test_an_empty_assignment_empties_every_list_of_times(pi: Machine) -> None:
    """Why the drop-in for `poll =` has to repeat OnActiveSec=: else the first poll never comes."""
    name = "piot-deploy@shed.timer"
    drop_in = f"/etc/systemd/system/{name}.d/poll.conf"
    pi.write(drop_in, "[Timer]\nOnUnitInactiveSec=\nOnUnitInactiveSec=1h\n")
    shown = pi.sh(f"systemctl show -P TimersMonotonic {name}")
    assert "OnActiveUSec" not in shown
    pi.write(drop_in, "[Timer]\nOnActiveSec=\nOnActiveSec=10s\nOnUnitInactiveSec=1h\n")
    pi.run(["systemctl", "daemon-reload"])
    shown = pi.sh(f"systemctl show -P TimersMonotonic {name}")
    assert "OnActiveUSec=10s" in shown
    assert "OnUnitInactiveUSec=1h" in shown
    assert "5min" not in shown


def test_the_delay_is_the_same_each_time(pi: Machine) -> None:
    shown = pi.sh("systemctl show -P FixedRandomDelay piot-deploy@garden.timer")
    assert shown == "yes"


def test_an_unreachable_repository_does_not_degrade_the_machine(pi: Machine) -> None:
    pi.write("/usr/bin/piot", "#!/bin/sh\nexit 75\n", 0o755)
    pi.run(["systemctl", "start", "piot-deploy@garden.service"])
    assert pi.sh("systemctl is-system-running") == "running"
    pi.write("/usr/bin/piot", "#!/bin/sh\nexit 1\n", 0o755)
    done = pi.run(["systemctl", "start", "piot-deploy@garden.service"], check=False)
    assert done.returncode == 1
    pi.run(["systemctl", "reset-failed"])
    pi.write("/usr/bin/piot", STUB, 0o755)


# The fallback, the clock, the boot guard and who looks for peers make no accounts and units;
# test_fallback.py, test_transaction.py and test_avahi.py run them under their own restrictions.
NO_APPLIERS = re.compile("fallback|bootguard|clock|peers")
APPLIERS = [u for u in UNITS if u.endswith(".service") and not NO_APPLIERS.search(u)]


@pytest.mark.parametrize("unit", APPLIERS)
def test_the_sandbox_lets_the_tools_work(pi: Machine, unit: str) -> None:
    """Accounts, units, git and a reload work under each service's restrictions."""
    pi.write("/usr/bin/piot", TOOLS, 0o755)
    # What piot-setup.service waits for; each run of the others leaves it alone.
    pi.write("/var/lib/piot/setup.todo", "")
    pi.run(["systemctl", "daemon-reload"])
    name = unit.replace("@.", "@garden.")
    started = pi.run(["systemctl", "start", name], check=False)
    log = pi.sh(f"journalctl -b -u {name} -o cat -n 30")
    assert started.returncode == 0, log
    assert "all work" in log
    pi.write("/usr/bin/piot", STUB, 0o755)


TOOLS = """\
#!/bin/sh
set -ex
echo 'u piot-probe - "A probe" /var/lib/piot-probe' | systemd-sysusers -
useradd --create-home --user-group prober
echo 'prober:$6$piot$x' | chpasswd -e
usermod -aG adm prober
userdel --remove prober
userdel piot-probe
systemctl daemon-reload
systemctl show -P ActiveState ssh.service
systemd-run --quiet --wait true
rm -rf /var/lib/probe
git init -q /var/lib/probe
git -C /var/lib/probe ls-remote .
setpriv --reuid=nobody --regid=nogroup --clear-groups true
mkdir -p /etc/piot
touch /boot/firmware/probe /etc/piot/probe
chown nobody /etc/piot/probe
rm -r /boot/firmware/probe /etc/piot
echo all work
"""


def test_the_launcher_starts_as_lean_as_python_can() -> None:
    script = Path(deb.CHECKOUT, "bin/piot").read_text()
    flags = script.splitlines()[0].removeprefix("#!").split()[1:]
    shown = subprocess.run(
        ["/usr/bin/python3", *flags, "-c", "import sys; print(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"site", "os", "encodings.idna"} & set(shown)
