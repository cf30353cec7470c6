"""Installing, upgrading, removing and purging, with what PioT owns written down by hand."""

from collections.abc import Callable

import pytest

from tests.kit import deb
from tests.kit.machine import Machine

Machines = Callable[..., Machine]

pytestmark = pytest.mark.machine

WEB = """\
[Service]
ExecStart=sleep infinity
User=piot-garden
# As PioT writes it: started only once it has the directory below.
Type=exec
StateDirectory=piot-garden
[Install]
WantedBy=multi-user.target
"""
UNITS = "/etc/systemd/system"
OWNED = {
    "conf": [
        "file /etc/hostname",
        "symlink /etc/localtime",
        "file /etc/ssh/sshd_config.d/10-piot.conf",
        "line /home/ada/.ssh/authorized_keys ssh-ed25519 AAAA ada",
        "user piot-garden",
        "directory /var/lib/piot/apps/garden",
        "file /etc/systemd/system/piot-deploy@garden.timer.d/poll.conf",
        f"symlink {UNITS}/timers.target.wants/piot-deploy@garden.timer",
        "unit piot-deploy@garden.timer",
        # A record that was tampered with, or damaged, must not lead outside.
        "file /etc/piot/../passwd",
        "file /etc/fstab",
        "user ada",
        "user piot-person",
    ],
    "app.garden": [
        f"file {UNITS}/piot-garden-web.service",
        f"file {UNITS}/piot-garden-broken.service",
        f"symlink {UNITS}/multi-user.target.wants/piot-garden-web.service",
        "unit piot-garden-web.service",
    ],
}


def furnish(pi: Machine) -> None:
    """Put onto the machine what PioT would have made for one app, and start it."""
    for scope, lines in OWNED.items():
        pi.write(f"/var/lib/piot/owned/{scope}", "".join(f"{line}\n" for line in lines), 0o600)
    pi.write(f"{UNITS}/piot-garden-web.service", WEB)
    pi.write(f"{UNITS}/piot-garden-broken.service", "[Service]\nExecStart=false\nType=oneshot\n")
    pi.write(f"{UNITS}/piot-deploy@garden.timer.d/poll.conf", "[Timer]\nOnUnitInactiveSec=1h\n")
    pi.write("/etc/ssh/sshd_config.d/10-piot.conf", "PasswordAuthentication no\n")
    pi.write("/etc/fstab", "# mine\n")
    pi.write("/etc/piot/mine", "mine\n")
    pi.sh(
        f"""
        echo 'u piot-garden - - /var/lib/piot-garden' | systemd-sysusers -
        useradd --create-home ada
        useradd --create-home piot-person
        mkdir -p /var/lib/piot/apps/garden {UNITS}/timers.target.wants
        ln -s /usr/lib/systemd/system/piot-deploy@.timer \
            {UNITS}/timers.target.wants/piot-deploy@garden.timer
        systemctl daemon-reload
        systemctl enable --quiet --now piot-garden-web piot-deploy@garden.timer
        systemctl start piot-garden-broken || true
        touch /var/lib/piot-garden/photo
        """
    )


def purge(pi: Machine, word: str = "purge") -> str:
    """Let apt remove or purge the package; return what it said."""
    done = pi.run(["apt-get", "-y", "-q", word, "piot"], timeout=180)
    return done.stdout + done.stderr


def test_removing_keeps_the_app_running_and_ends_the_polls(machine: Machines) -> None:
    pi = machine().boot()
    pi.install(deb.deb())
    furnish(pi)
    pi.run(["systemctl", "reset-failed"])
    purge(pi, "remove")
    assert pi.sh("systemctl is-active piot-garden-web") == "active"
    assert pi.run(["systemctl", "is-active", "piot-deploy@garden.timer"], check=False).returncode
    assert not pi.exists("/usr/bin/piot")
    assert pi.exists("/var/lib/piot/owned/conf")
    pi.reboot()
    assert pi.sh("systemctl is-active piot-garden-web") == "active"
    pi.install(deb.deb())
    pi.reboot()
    assert pi.sh("systemctl is-active piot-deploy@garden.timer") == "active"


def test_purging_takes_all_that_piot_made_and_nothing_else(machine: Machines) -> None:
    pi = machine().boot()
    before = pi.sh("find / -xdev -iname '*piot*' | sort")
    pi.install(deb.deb())
    furnish(pi)
    said = purge(pi)
    assert "leaving /var/lib/piot-garden, which holds data of the app" in said
    assert "rm: " not in said
    left = pi.sh("find / -xdev -path /var/log -prune -o -iname '*piot*' -print | sort").splitlines()
    known = {"/etc/piot", "/home/piot-person", "/var/lib/piot-garden", "/var/mail/piot-person"}
    assert set(left) - set(before.splitlines()) <= known
    for path in ("/etc/hostname", "/etc/localtime", "/etc/passwd", "/etc/fstab", "/etc/piot/mine"):
        assert pi.exists(path), path
    assert pi.sh("systemctl list-units --all --plain --no-legend 'piot*'") == ""
    assert pi.sh("systemctl is-system-running") == "running"
    accounts = pi.sh("cut -d: -f1 /etc/passwd /etc/group").split()
    assert "piot-garden" not in accounts
    assert {"ada", "piot-person"} <= set(accounts)
    assert not pi.exists("/etc/cloud/clean.d")
    pi.reboot()


def test_an_upgrade_starts_nothing_and_keeps_the_timers(machine: Machines) -> None:
    pi = machine().boot()
    pi.install(deb.deb())
    furnish(pi)
    pid = pi.sh("systemctl show -P MainPID piot-garden-web")
    pi.copy_in(deb.deb(), "/root/piot.deb")
    pi.run(["dpkg", "--install", "/root/piot.deb"], timeout=120)
    assert pi.sh("systemctl show -P MainPID piot-garden-web") == pid
    assert pi.sh("systemctl is-active piot-deploy@garden.timer") == "active"
    assert pi.sh("systemctl show -P ExecMainStartTimestamp piot-firstboot") == ""


def test_the_first_boot_of_an_image_leaves_piot_enabled(machine: Machines) -> None:
    pi = machine(first_boot=True)
    pi.install(deb.deb())
    pi.write("/usr/lib/systemd/system-preset/99-none.preset", "disable *\n")
    pi.boot(wait=False)
    pi.wait_running(expect=None)
    assert pi.sh("systemctl is-enabled piot-firstboot") == "enabled"
    assert pi.sh("systemctl show -P Result piot-firstboot") == "success"
    assert pi.sh("systemctl show -P ExecMainStartTimestamp piot-firstboot")


def test_the_test_that_debian_runs_passes(machine: Machines) -> None:
    pi = machine().boot()
    pi.install(deb.deb())
    pi.copy_in(deb.CHECKOUT / "debian/tests/installed", "/root/installed")
    pi.run(["/root/installed"], env={"AUTOPKGTEST_TMP": "/tmp"})
