"""What surrounds a deploy fails: the disk, apt, the network, the clock. The app serves throughout.

One machine, one fault after the other. For each: what the fault counts as (the commit's own or the
surroundings'), when it is tried again, and that it deploys once the fault is gone. All the while
the app is asked every 100 ms for its page. What takes ten minutes is in test_patience.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.kit import aptsource, faultbed, roots
from tests.kit.faultbed import MANIFEST, Bed, noise
from tests.kit.wait import eventually

pytestmark = pytest.mark.machine

# For the deploy and its children alone: flushing fails, {when} it is tried.
TRACED = (
    "/usr/bin/strace -f -qq -o /dev/null -e trace={call} -e inject={call}:error=EIO:when={when}"
)
FAILING = f"[Service]\nNotifyAccess=all\nExecStart=\nExecStart={TRACED} /usr/bin/piot deploy %i\n"


@pytest.fixture(scope="module", params=roots.RELEASES)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """Boot a machine with its app."""
    with faultbed.boot(request.param) as made:
        yield made


@pytest.fixture(autouse=True)
def served(bed: Bed) -> Iterator[None]:
    """Hold each test to it: the app answers, however the deploy fares."""
    bed.misses()
    yield
    assert bed.misses() == []


def test_a_full_disk(bed: Bed) -> None:
    commit = bed.push({"big": noise(2)})
    filler = "/var/lib/piot/filler"
    fill = f"dd if=/dev/zero of={filler} bs=64k 2>/dev/null; sync; df /var/lib/piot >&2; true"
    with bed.broken(fill, f"rm {filler}"):
        assert bed.deploy() == 1
        bed.waits_for_the_surroundings(commit, "disk full", "not enough free space in")
        assert bed.record()["step"] == "committed"
        assert "make room: see `df -h`" in bed.why()["todo"]
    bed.comes_right(commit)
    bed.comes_right(bed.push({"big": None}))


def test_a_disk_that_turned_read_only(bed: Bed) -> None:
    # It takes no record either: what is known of it is in the journal, and a timer in memory.
    commit = bed.push()
    with bed.broken("mount -o remount,ro /var/lib/piot", "mount -o remount,rw /var/lib/piot"):
        before = bed.record()
        assert bed.deploy() == 1
        assert bed.record() == before
        assert "Read-only file system" in bed.said(5)
        bed.asks_again()
    bed.comes_right(commit)


def test_a_disk_that_fails(bed: Bed) -> None:
    place = "/etc/systemd/system/piot-deploy@garden.service.d"
    gone = f"rm -r {place}; systemctl daemon-reload"
    # What was staged cannot be flushed; the record can.
    commit = bed.push()
    bed.machine.write(f"{place}/eio.conf", FAILING.format(call="syncfs", when="1+"))
    with bed.broken("systemctl daemon-reload", gone):
        assert bed.deploy() == 1
        bed.waits_for_the_surroundings(commit, "disk failing", "Input/output error")
        assert "replace the card" in bed.why()["todo"]
    bed.comes_right(commit)
    # Nothing can be flushed from the record on. Before it there is a file in /run, on no disk.
    commit, before = bed.push(), bed.record()
    bed.machine.write(f"{place}/eio.conf", FAILING.format(call="fsync", when="2+"))
    with bed.broken("systemctl daemon-reload", gone):
        assert bed.deploy() == 1
        assert "Input/output error" in bed.said()
        assert bed.record() == before
        bed.asks_again()
    bed.comes_right(commit)


def test_apps_wait_for_another_apt_and_for_each_other(bed: Bed) -> None:
    m, both = bed.machine, ("shed", "barn")
    m.sh("rm -f /etc/apt/sources.list.d/*")
    m.write("/etc/apt/sources.list", "deb [trusted=yes] http://git.test:81/debian ./\n")
    commit = bed.push({".piot.yaml": f"needs: {{apt: [surely-no-such-package]}}\n{MANIFEST}"})
    assert bed.deploy() == 1
    bed.waits_for_the_surroundings(commit, "network", "surely-no-such-package; apt-get update: ")
    bed.comes_right(bed.push({".piot.yaml": MANIFEST}))
    aptsource.offer(m, "hello-a", "hello-b")
    bed.lock_apt(lists=300, packages=300)
    manifest = "piot: 1\nneeds: {{apt: [{0}]}}\njobs: {{hello: {{run: {0}, every: 1h}}}}\n"
    bed.add(shed=manifest.format("hello-a"), barn=manifest.format("hello-b"))

    def says(text: str) -> bool:
        return any(text in bed.doing(app) for app in both)

    eventually(lambda: says("waiting for another apt: Could not get lock"), 60, "the lists", 0.2)
    eventually(lambda: says("waiting for packages of another app"), 60, "its turn", 0.2)
    bed.free_apt("lists")
    commit = bed.push()
    assert bed.deploy() == 0, "this one waits for neither"
    assert bed.record()["commit"] == commit
    assert [bed.at_work(app) for app in both] == ["activating"] * 2
    bed.free_apt("packages")
    eventually(lambda: all(map(bed.deployed, both)), 120, "both", 0.3)
    for app, package in (("shed", "hello-a"), ("barn", "hello-b")):
        assert (bed.record(app)["step"], bed.record(app)["bad"]) == ("committed", [])
        assert m.sh(f"dpkg-query -f '${{Status}}' -W {package}") == "install ok installed"


def test_no_dns(bed: Bed) -> None:
    commit = bed.push()
    cut = "cp /etc/hosts /etc/hosts.kept; sed -i /git.test/d /etc/hosts"
    with bed.broken(cut, "cat /etc/hosts.kept >/etc/hosts"):
        assert bed.deploy() == 75
        assert "DNS" in bed.said()
        bed.asks_again()
    bed.comes_right(commit)


def test_a_certificate_that_is_not_yet_valid(bed: Bed) -> None:
    # By its own date: the machine's clock is this host's, and not to be turned back.
    commit, good = bed.push(), bed.server.folder / "server.pem"
    kept = good.read_bytes()
    bed.server.certificate(start="20370101000000Z", end="20380101000000Z")
    try:
        assert bed.deploy() == 75
        assert "certificate is not yet valid\nhint: is the clock right?" in bed.said()
        bed.asks_again()
    finally:
        bed.server.stop()
        good.write_bytes(kept)
        bed.server.start()
    bed.comes_right(commit)


def test_a_server_at_a_crawl(bed: Bed) -> None:
    # 1 kB/s. Slower than git takes for dead only if nothing comes for a minute: it gets there.
    commit = bed.push({"big": noise(0.04)})
    with bed.traffic("tbf rate 8kbit burst 2kb limit 12kb"):
        began = time.monotonic()
        assert bed.deploy(timeout=400) == 0
        took = time.monotonic() - began
    bed.is_deployed(commit)
    assert took > 40, f"{took:.0f} s is not slow"


def test_a_server_that_dies_in_the_middle_of_a_pack(bed: Bed) -> None:
    commit = bed.push({"big": noise(3)})
    with bed.traffic("tbf rate 4mbit burst 16kb latency 400ms"):
        bed.begin()
        half = "find /var/lib/piot/apps/garden -name 'tmp_pack_*' -size +700k | grep -q ."
        eventually(lambda: bed.machine.run(half, check=False).returncode == 0, 60, "half a pack")
        bed.server.stop()
    bed.ends()
    bed.server.start()
    assert bed.record()["step"] == "committed"
    bed.waits_for_the_surroundings(commit, "network", "")
    mirror = "--git-dir=/var/lib/piot/apps/garden/mirror.git"
    bed.machine.run(f"git {mirror} fsck --strict --no-dangling")
    bed.comes_right(commit)
    bed.machine.run(f"git {mirror} fsck --strict --no-dangling")
