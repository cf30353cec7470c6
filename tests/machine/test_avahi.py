"""What an app's port is to the network, with the real avahi: told to others, heard from them."""

from __future__ import annotations

from collections.abc import Callable

from tests.kit import deb, roots
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.wait import eventually

# Port 80, which the app's user can bind only by the capability that its unit gives.
MANIFEST = """\
piot: 1
services:
  web:
    run: python -m http.server 80
    port: 80
    health: {http: "http://localhost/", within: 20s, steady: 0s}
"""


def test_devices_of_an_app_find_each_other(
    machine: Callable[..., Machine], git_server: Callable[..., GitServer], release: str
) -> None:
    pi = machine(roots.base(release, ("avahi-daemon", "avahi-utils")), hostname="pi-a").boot()
    repo = git_server(pi).repo("garden")
    repo.commit({".piot.yaml": MANIFEST})
    pi.install(deb.deb())
    pi.write("/boot/firmware/piot.conf", f"[app]\nrepo = {repo.url}\npoll = off\n")
    pi.sh("piot apply; systemctl start piot-deploy@garden")
    browse = "avahi-browse --parsable --resolve --terminate _piot._tcp"
    told = eventually(lambda: pi.sh(f"{browse} | grep ^= || true"), 20, "what avahi tells", 0.5)
    assert ";pi-a.local;" in told and ";80;" in told and '"service=web"' in told
    assert not any("PIOT_PEER_" in row for row in environment(pi)), "itself is no peer"

    # Another device of the same app, as far as the network can tell.
    pi.sh("systemd-run --quiet avahi-publish --address --no-reverse pi-b.local 10.99.99.2")
    words = "--host=pi-b.local 'garden web on pi-b' _piot._tcp 8081 app=garden service=web"
    pi.sh(f"systemd-run --quiet avahi-publish --service {words}")
    eventually(lambda: ";pi-b.local;" in pi.sh(browse), 20, "the other device", 0.5)
    repo.commit({"note": "2"})
    pi.sh("systemctl start piot-deploy@garden")
    assert "PIOT_PEER_WEB=pi-b.local:8081" in environment(pi)

    # One that comes later is found without a deploy, by what the timer starts; nothing restarts.
    assert pi.sh("systemctl is-active piot-peers@garden.timer") == "active"
    (file,) = [row[11:] for row in environment(pi) if row.startswith("PIOT_PEERS=")]
    running = pi.sh("systemctl show -P MainPID piot-garden-web")
    pi.sh("systemd-run --quiet avahi-publish --address --no-reverse pi-c.local 10.99.99.3")
    words = "--host=pi-c.local 'garden web on pi-c' _piot._tcp 8082 app=garden service=web"
    pi.sh(f"systemd-run --quiet avahi-publish --service {words}")
    eventually(lambda: ";pi-c.local;" in pi.sh(browse), 20, "the third device", 0.5)
    both = "PIOT_PEER_WEB=pi-b.local:8081,pi-c.local:8082"

    def looked() -> bool:
        pi.sh("systemctl start piot-peers@garden.service")
        return pi.read(file).strip() == both

    eventually(looked, 20, "what the units are told", 0.5)
    assert (
        pi.sh(f"setpriv --reuid=piot-garden --regid=piot-garden --init-groups cat {file}") == both
    )
    assert pi.sh("piot peers") == both
    assert "piot-garden-web" in (said := pi.sh("piot status")) and "piot-peers" not in said
    assert pi.sh("journalctl --boot --quiet --unit piot-peers@garden.service") == ""
    assert pi.sh("systemctl show -P MainPID piot-garden-web") == running
    pi.sh("systemctl restart piot-garden-web")
    assert both in environment(pi)
    assert not pi.sh("systemctl list-units --failed --no-legend --plain")

    # An app that leaves takes along what looks for others, and runs on.
    running = pi.sh("systemctl show -P MainPID piot-garden-web")
    pi.sh("piot eject --yes")
    assert not pi.sh("find /etc/systemd -name '*peers*'; systemctl list-timers -q 'piot-peers*'")
    assert pi.sh("systemctl show -P MainPID piot-garden-web") == running
    assert pi.sh("systemctl show -P NeedDaemonReload 'piot-garden*' | sort -u | xargs") == "no"


def environment(pi: Machine) -> list[str]:
    """Return the variables of the app's running process."""
    pid = pi.sh("systemctl show -P MainPID piot-garden-web")
    return pi.sh(f"tr '\\0' '\\n' </proc/{pid}/environ").splitlines()
