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
    assert not any("PIOT_PEER" in row for row in environment(pi)), "itself is no peer"

    # Another device of the same app, as far as the network can tell.
    pi.sh("systemd-run --quiet avahi-publish --address --no-reverse pi-b.local 10.99.99.2")
    words = "--host=pi-b.local 'garden web on pi-b' _piot._tcp 8081 app=garden service=web"
    pi.sh(f"systemd-run --quiet avahi-publish --service {words}")
    eventually(lambda: ";pi-b.local;" in pi.sh(browse), 20, "the other device", 0.5)
    repo.commit({"note": "2"})
    pi.sh("systemctl start piot-deploy@garden")
    assert "PIOT_PEER_WEB=pi-b.local:8081" in environment(pi)


def environment(pi: Machine) -> list[str]:
    """Return the variables of the app's running process."""
    pid = pi.sh("systemctl show -P MainPID piot-garden-web")
    return pi.sh(f"tr '\\0' '\\n' </proc/{pid}/environ").splitlines()
