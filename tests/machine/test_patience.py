"""What takes minutes: another apt that holds its lock for ten of them, and what goes on in these.

Two apps need packages and wait; a third is deployed, runs into limits of its own and loses
the way to its server. One release is enough: nothing in it depends on Debian's. It costs time and
hardly any work, in a worker of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.kit import aptsource, faultbed
from tests.kit.faultbed import MANIFEST, Bed
from tests.kit.wait import eventually

pytestmark = pytest.mark.machine

LOCKED = 600.0  # seconds
NEEDY = {"shed": "hello-a", "barn": "hello-b"}  # apps, and the package that each of them needs
NEEDS = "piot: 1\nneeds: {{apt: [{0}]}}\njobs: {{hello: {{run: {0}, every: 1h}}}}\n"
NEVER = 'at: "01-01 02:30"'  # only when it is started by hand
JOBS = f"""\
{MANIFEST}
jobs:
  stuck: {{run: ./stuck.sh, {NEVER}, timeout: 3s}}
  flaky: {{run: ./flaky.sh, {NEVER}, timeout: 2s, retry: {{times: 2, wait: 1s}}}}
  snap: {{run: ./snap.sh, {NEVER}}}
  upload: {{run: ./note.sh upload, {NEVER}, after: [snap]}}
"""
# With a child in a session of its own, and neither goes when it is asked to.
STUBBORN = "#!/bin/sh\ntrap '' TERM\necho compiling\nsetsid sleep 1000 &\nsleep 1001\nsleep 1002\n"
SCRIPTS: dict[str, str | bytes | None] = {
    "stuck.sh": "#!/bin/sh\nsetsid sleep 1000 &\nsleep 1001\n",
    # It fails, then hangs, then works.
    "flaky.sh": '#!/bin/sh\ncd "$STATE_DIRECTORY"\necho x >>tries\n'
    "case $(wc -l <tries) in 1) exit 3 ;; 2) exec sleep 1000 ;; esac\n",
    "note.sh": '#!/bin/sh\necho "$1" >>"$STATE_DIRECTORY/ran"\n',
    "snap.sh": '#!/bin/sh\nuntil [ -e "$STATE_DIRECTORY/enough" ]; do sleep 0.2; done\n'
    "exec ./note.sh snap\n",
}
# A second service, whose judgement ends when the test lets it.
LAMP: dict[str, str | bytes | None] = {
    ".piot.yaml": f"{MANIFEST}  lamp:\n    run: ./lamp.sh\n"
    "    health: {journal: {expect: lit, within: 5min}, steady: 0s}\n",
    "lamp.sh": '#!/bin/sh\nuntil [ -e "$STATE_DIRECTORY/go" ]; do sleep 0.2; done\n'
    "echo lit\nexec sleep 1000000\n",
}
STATE = "/var/lib/piot-garden"


@pytest.fixture(scope="module", params=["trixie"])
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """Boot a machine with its app, and let two more wait for an apt that is at work."""
    with faultbed.boot(request.param) as made:
        aptsource.offer(made.machine, *NEEDY.values())
        made.began = made.lock_apt(lists=300, packages=LOCKED)
        made.add(**{app: NEEDS.format(package) for app, package in NEEDY.items()})
        yield made


@pytest.fixture(autouse=True)
def served(bed: Bed) -> Iterator[None]:
    """Hold each test to it: the app answers, and the two that wait do so."""
    yield
    assert bed.misses() == []


def still_waiting(bed: Bed) -> None:
    """Check that the two apps wait for the lock, if it is still held."""
    if time.time() < bed.began + LOCKED:
        assert [bed.at_work(app) for app in NEEDY] == ["activating"] * 2


def sleeping(bed: Bed) -> str:
    """Return what of the scripts still runs."""
    return bed.machine.sh("pgrep -u piot-garden -a sleep | grep -v 1000000 || true")


def test_two_wait_and_the_third_does_not(bed: Bed) -> None:
    def says(text: str) -> bool:
        return any(text in bed.doing(app) for app in NEEDY)

    eventually(lambda: says("waiting for another apt: Could not get lock"), 60, "the lists", 0.2)
    bed.free_apt("lists")
    eventually(lambda: says("waiting for packages of another app"), 60, "its turn", 0.2)
    commit = bed.push()
    assert bed.deploy() == 0
    bed.is_deployed(commit)
    still_waiting(bed)


def test_a_job_that_takes_too_long_is_ended(bed: Bed) -> None:
    m = bed.machine
    commit = bed.push({".piot.yaml": JOBS, **SCRIPTS})
    assert bed.deploy() == 0, bed.said()
    bed.is_deployed(commit)
    began = time.monotonic()
    done = m.run(["systemctl", "start", "piot-garden-stuck"], check=False, timeout=120)
    assert done.returncode == 1 and time.monotonic() - began >= 3
    shown = "systemctl show -P Result -P ActiveState piot-garden-stuck.service"
    assert m.sh(shown).split() == ["timeout", "failed"]
    assert sleeping(bed) == "", "nor does what it left behind run on"
    m.sh("systemctl reset-failed piot-garden-stuck")


def test_a_job_that_fails_and_hangs_is_tried_again(bed: Bed) -> None:
    m = bed.machine
    m.run(["systemctl", "start", "piot-garden-flaky"], timeout=120)
    assert m.read(f"{STATE}/tries") == "x\n" * 3
    assert m.sh("systemctl show -P Result piot-garden-flaky.service") == "success"
    log = m.sh("journalctl --sync; journalctl -o cat -t garden-flaky")
    assert "attempt 1 of 3 failed with status 3, next in 1 s" in log
    assert "attempt 2 of 3 failed with status 124, next in 1 s" in log
    assert sleeping(bed) == ""


def test_a_job_waits_for_the_one_that_it_comes_after(bed: Bed) -> None:
    m = bed.machine
    m.sh("systemctl start --no-block piot-garden-snap")
    eventually(lambda: state(bed, "snap") == "activating", 20, "the first job", 0.2)
    m.sh("systemctl start --no-block piot-garden-upload")
    waits = "systemctl list-jobs --no-legend 'piot-garden-upload*' | awk '{print $NF}'"
    assert (m.sh(waits), state(bed, "upload")) == ("waiting", "inactive")
    m.sh(f"touch {STATE}/enough")
    eventually(lambda: m.exists(f"{STATE}/ran"), 20, "its end", 0.2)
    eventually(lambda: m.read(f"{STATE}/ran") == "snap\nupload\n", 20, "the other one", 0.2)


def state(bed: Bed, job: str) -> str:
    """Return the state of a job."""
    return bed.machine.sh(f"systemctl show -P ActiveState piot-garden-{job}.service")


def test_a_way_that_stays_away_is_no_commits_fault(bed: Bed) -> None:
    """Cut between fetch and judgement, and not by the commit: it comes right by itself."""
    former = bed.record()["commit"]
    commit = bed.push(LAMP)
    bed.begin()
    eventually(lambda: "probation: " in bed.doing(), 60, "its judgement", 0.2)
    bed.network.cut()
    try:
        bed.machine.sh(f"touch {STATE}/go")
        bed.ends(timeout=300)
        cut = "the way to the git host is cut: "
        bed.is_not_blamed(commit, "route", cut)
        assert "; and still: " in bed.failure(commit)["reason"]
        record = bed.record()
        assert (record["commit"], record["step"]) == (former, "rolled-back")
    finally:
        bed.network.restore()
    eventually(lambda: bed.record()["commit"] == commit, 180, "the next try, by itself", 1)
    bed.ends()
    bed.is_deployed(commit)
    still_waiting(bed)


def test_a_build_that_takes_too_long_is_ended(bed: Bed) -> None:
    m, former = bed.machine, bed.record()["commit"]
    module = "/usr/lib/python3/dist-packages/piot_firstboot/confined.py"
    shorter = "s/^LIMIT = 1800.0 /LIMIT = 60.0 /"
    with bed.broken(
        f"cp -p {module} /root/; sed -i '{shorter}' {module}; ! cmp -s {module} /root/confined.py",
        f"cp -p /root/confined.py {module}",
    ):
        built = {".piot.yaml": f"{MANIFEST}build: ./build.sh\n", "build.sh": STUBBORN}
        commit = bed.push({**built})
        began = time.monotonic()
        assert bed.deploy() == 1
        assert 60 <= time.monotonic() - began < 180
    failure, why = bed.failure(commit), bed.why()
    assert failure["deterministic"] and failure["kind"] == why["kind"] == "commit"
    assert failure["reason"] == "build took longer than 1 min\n  compiling"
    assert why["again"] == "not tried again until a new commit or: sudo piot retry garden"
    assert "journalctl -t garden-build" in why["todo"]
    assert sleeping(bed) == ""
    assert m.sh("systemctl list-units --all --no-legend 'piot-build@*' 'piot-due-garden*'") == ""
    releases = m.sh("ls /var/lib/piot/apps/garden/releases").split()
    assert former in releases and not any(name.startswith(commit) for name in releases)
    assert bed.record()["commit"] == former
    bed.comes_right(bed.push({".piot.yaml": MANIFEST}))
    still_waiting(bed)


def test_ten_minutes_later_both_are_deployed(bed: Bed) -> None:
    """At the first try: none of them was given up, and none was to blame."""
    left = max(0.0, bed.began + LOCKED - time.time())
    eventually(lambda: all(map(bed.deployed, NEEDY)), left + 120, "both", 1)
    assert time.time() >= bed.began + LOCKED
    eventually(
        lambda: all(bed.record(app)["step"] == "committed" for app in NEEDY), 30, "both at rest"
    )
    for app, package in NEEDY.items():
        assert bed.record(app)["bad"] == []
        query = f"dpkg-query -f '${{Status}}' -W {package}"
        assert bed.machine.sh(query) == "install ok installed"
        log = bed.machine.sh(f"journalctl -o cat -u piot-deploy@{app}")
        assert "deployed" in log and "refused" not in log and "rolled back" not in log
    assert bed.machine.sh("systemctl --failed --no-legend") == ""
