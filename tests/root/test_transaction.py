"""The transaction against a temporary root: real git, files only, nothing started."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import deploy, idle, release, repository, state
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System
from tests.kit.apptree import FILES, MANIFEST, UNITS, Device


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device whose app has one good commit in its repository."""
    made = Device(tmp_path)
    made.repo.commit(FILES, "first")
    return made


def test_first_deploy(device: Device) -> None:
    head = device.repo.head()
    assert device.deploy().ok
    record = device.record()
    assert (record.step, record.commit, record.target, record.good) == ("committed", head, "", ())
    assert device.releases() == [head]
    assert f"PIOT_COMMIT={head}" in device.unit()
    names = {path.name for path in (device.root / UNITS).iterdir()}
    assert names == {
        "multi-user.target.wants",
        "piot-garden-tick.service",
        "piot-garden-tick.timer",
        "piot-garden-web.service",
        "piot-garden.slice",
        "piot-garden.target",
        "piot-garden.target.wants",
    }


@pytest.mark.parametrize(("name", "newer"), [("bookworm", False), ("trixie", True)])
def test_a_tree_gets_units_for_its_own_systemd(device: Device, name: str, newer: bool) -> None:
    device.system.write("/usr/lib/os-release", f"ID=debian\nVERSION_CODENAME={name}\n".encode())
    device.deploy()
    assert ("\nRestartSteps=" in device.unit()) == newer


def test_nothing_new_changes_nothing(device: Device) -> None:
    device.deploy()
    before = {p: p.lstat().st_mtime_ns for p in device.root.rglob("*") if "run" not in p.parts}
    assert device.deploy().ok
    after = {p: p.lstat().st_mtime_ns for p in device.root.rglob("*") if "run" not in p.parts}
    assert after == before


def test_the_next_poll_is_answered_by_the_stamp(device: Device) -> None:
    device.deploy()
    assert idle.unmoved(str(device.root), "garden")
    device.repo.commit({"note": "2"})
    assert not idle.unmoved(str(device.root), "garden")


def test_former_releases_are_kept_and_then_pruned(device: Device) -> None:
    commits = [device.repo.head()]
    device.deploy()
    for number in range(4):
        commits.append(device.repo.commit({"note": str(number)}))
        assert device.deploy().ok
    assert set(device.releases()) == set(commits[-3:])
    assert device.record().good == (commits[-2], commits[-3])


def test_a_wrong_manifest_is_refused_for_good(device: Device) -> None:
    good = device.repo.head()
    device.deploy()
    unit = device.unit()
    bad = device.repo.commit({".piot.yaml": "piot: 1\nservices: {web: {rnu: x}}\njobs: 3\n"})
    outcome = device.deploy()
    assert not outcome.ok
    assert ".piot.yaml:2:" in outcome.text and ".piot.yaml:3:" in outcome.text
    assert (device.record().commit, device.unit(), device.releases()) == (good, unit, [good])
    failure = device.record().failure(bad)
    assert failure and failure.deterministic
    again = device.deploy()
    assert again.ok and "not tried now" in again.text
    assert failure == device.record().failure(bad)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({".piot.yaml": None}, "has no .piot.yaml"),
        ({".piot.yaml": MANIFEST.replace("./web.sh", "./gone.sh", 1)}, "./gone.sh"),
        ({".piot.yaml": MANIFEST.replace("./web.sh", "nonesuch", 1)}, "nonesuch"),
        ({".piot.yaml": f"secrets: [KEY]\n{MANIFEST}"}, "[secrets] KEY"),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_touched(
    device: Device, files: dict[str, str | None], reason: str
) -> None:
    device.repo.commit(files)
    outcome = device.deploy()
    assert not outcome.ok and reason in outcome.text
    assert device.record().step == "idle"
    assert not (device.root / UNITS).exists() and device.releases() == []


def test_a_procfile_stands_in_for_a_manifest(device: Device) -> None:
    device.repo.commit(
        {".piot.yaml": None, "Procfile": "web: ./web.sh\ncron1: 5 4 * * * ./web.sh\n"}
    )
    assert device.deploy().ok
    assert "\nSourcePath=/var/lib/piot/apps/garden/releases/" in device.unit()
    assert "/Procfile\n" in device.unit() and "Made by PioT from Procfile of" in device.unit()
    timer = (device.root / UNITS / "piot-garden-cron1.timer").read_text()
    assert "OnCalendar=*-*-* 04:05:00\n" in timer
    device.repo.commit({"Procfile": "web: ./web.sh 'open\n"})
    assert "Procfile:1:15: run: this quote is never closed" in device.deploy().text


def test_the_manifest_may_lie_elsewhere(device: Device) -> None:
    """And then no other file stands in for it."""
    device.source(path="devices/garden.yaml")
    assert "has no devices/garden.yaml" in device.deploy().text
    device.repo.commit({"devices/garden.yaml": MANIFEST.replace("web:", "site:"), "Procfile": ""})
    assert device.deploy().ok
    assert "/devices/garden.yaml" in device.unit("piot-garden-site.service")
    device.repo.commit({"devices/garden.yaml": "piot: 1\nservices: 3\n"})
    assert "devices/garden.yaml:2:11: " in device.deploy().text


def test_a_program_without_its_bit_is_explained(device: Device) -> None:
    (device.repo.work / "web.sh").chmod(0o644)
    device.repo.git("add", "--all")
    device.repo.git("commit", "-q", "-m", "forgot the bit")
    device.repo.push()
    assert "git update-index --chmod=+x web.sh" in device.deploy().text


def test_a_missing_secret_is_waited_for(device: Device) -> None:
    commit = device.repo.commit({".piot.yaml": f"secrets: [KEY]\n{MANIFEST}"})
    device.deploy()
    failure = device.record().failure(commit)
    assert failure and not failure.deterministic
    assert not idle.unmoved(str(device.root), "garden"), "the poll must come back to it"
    device.system.write("/var/lib/piot/secrets/KEY", b"x", 0o600)
    assert "next try in 1 min" in device.deploy().text
    deploy.forgive(device.system, "garden")
    assert device.deploy().ok and device.record().commit == commit
    assert "LoadCredential=KEY:/var/lib/piot/secrets/KEY" in device.unit()


@pytest.mark.parametrize("step", ["fetched", "verified", "staged"])
def test_unfinished_work_that_touched_nothing_is_discarded(
    device: Device, step: state.Step
) -> None:
    head = device.repo.head()
    device.deploy()
    new = device.repo.commit({"note": "2"})
    state.save(device.system, replace(device.record(), step=step, target=new))
    device.system.write(f"/var/lib/piot/apps/garden/releases/{new}.partial/half", b"")
    assert device.deploy().ok
    assert (device.record().commit, device.record().good) == (new, (head,))
    assert set(device.releases()) == {head, new}


@pytest.mark.parametrize("step", ["switched", "probation"])
def test_an_unfinished_switch_is_resumed(device: Device, step: state.Step) -> None:
    first = device.repo.head()
    device.deploy()
    second = device.repo.commit({"note": "2"})
    device.deploy()
    # As a power cut leaves it: the new release is staged, its units are only partly in place.
    state.save(
        device.system,
        replace(device.record(), step=step, commit=first, target=second, good=()),
    )
    device.system.remove(f"/{UNITS}/piot-garden-tick.timer")
    assert device.deploy().ok
    record = device.record()
    assert (record.step, record.commit, record.resumes) == ("committed", second, 0)
    assert (device.root / UNITS / "piot-garden-tick.timer").exists()


def test_a_switch_that_never_ends_is_rolled_back(device: Device) -> None:
    first = device.repo.head()
    device.deploy()
    second = device.repo.commit({"note": "2"})
    device.deploy()
    hung = replace(
        device.record(), step="probation", commit=first, target=second, good=(), resumes=2
    )
    state.save(device.system, hung)
    outcome = device.deploy()
    assert outcome.ok and "not tried now" in outcome.text
    failure = device.record().failure(second)
    assert failure and failure.deterministic and "3 starts" in failure.reason
    assert f"PIOT_COMMIT={first}" in device.unit()


def test_an_unfinished_rollback_is_finished(device: Device) -> None:
    first = device.repo.head()
    device.deploy()
    second = device.repo.commit({"note": "2"})
    device.deploy()
    record = replace(device.record(), step="rolling-back", commit=first, target=second, good=())
    state.save(device.system, record.failed(second, "boom", deterministic=True, now=0, jitter=0))
    device.deploy()
    assert (device.record().step, device.record().commit) == ("rolled-back", first)
    assert f"PIOT_COMMIT={first}" in device.unit()


def test_rollback_by_hand_is_not_undone_by_the_next_poll(device: Device) -> None:
    first = device.repo.head()
    device.deploy()
    second = device.repo.commit({"note": "2"})
    device.deploy()
    assert deploy.rollback(device.system, "garden").ok
    assert device.record().commit == first
    device.deploy()
    assert device.record().commit == first
    assert deploy.forgive(device.system, "garden") == (second,)
    device.deploy()
    assert device.record().commit == second


def test_rollback_needs_somewhere_to_go(device: Device) -> None:
    device.deploy()
    with pytest.raises(ApplyError, match="no earlier release"):
        deploy.rollback(device.system, "garden")


def test_branch_tag_and_commit_as_ref(device: Device) -> None:
    first = device.repo.head()
    device.repo.tag("v1")
    second = device.repo.commit({"note": "2"})
    for ref, commit in (("v1", first), ("main", second), (first, first)):
        device.source(ref=ref)
        assert device.deploy().ok
        assert device.record().commit == commit


def test_a_ref_or_repository_that_is_missing_is_named(device: Device) -> None:
    device.source(ref="nosuch")
    with pytest.raises(repository.Missing, match="no branch or tag 'nosuch'"):
        device.deploy()
    device.source(repo=f"{device.repo.url}.gone")
    with pytest.raises(repository.Unreachable) as caught:
        device.deploy()
    assert caught.value.hint.startswith("look at `repo`")


def test_a_damaged_mirror_is_fetched_anew(device: Device) -> None:
    device.deploy()
    mirror = device.root / "var/lib/piot/apps/garden/mirror.git"
    for pack in (mirror / "objects/pack").glob("*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(b"")
    new = device.repo.commit({"note": "2"})
    assert device.deploy().ok
    assert device.record().commit == new
    assert not mirror.with_name("mirror.git.new").exists()


def test_a_forced_push_is_followed(device: Device) -> None:
    first = device.repo.head()
    device.repo.commit({"note": "2"})
    device.deploy()
    device.repo.rewind(first)
    other = device.repo.commit({"note": "other"})
    assert device.deploy().ok
    assert device.record().commit == other


def test_an_unknown_app_is_answered_with_those_there_are(device: Device) -> None:
    with pytest.raises(ApplyError, match="there is no app 'gardn' on this device; there is: gard"):
        deploy.deploy(device.system, "gardn")
    with pytest.raises(ApplyError, match="there is no app"):
        deploy.deploy(device.system, "../../etc")


def test_one_run_at_a_time(device: Device) -> None:
    with (
        device.system.lock("/run/piot/garden.lock"),
        pytest.raises(ApplyError, match="another deploy of garden is at work"),
    ):
        device.deploy()


def test_what_another_run_ends_is_no_failure(device: Device) -> None:
    """After a boot a timer finishes what was begun; a poll may have been first."""
    with device.system.lock("/run/piot/garden.lock"):
        outcome = deploy.finish(device.system, "garden")
    assert outcome.ok and "another deploy of garden is at work" in outcome.text


# -- what is pushed during a deploy -------------------------------------------------------------

Meanwhile = Callable[..., list[str]]


@pytest.fixture
def meanwhile(device: Device, monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Return what has things happen while releases are staged, one after the other.

    It returns the commits that were staged, in a list that grows.
    """
    happens: list[Callable[[], object]] = []
    staged: list[str] = []
    right = release.stage

    def stage(system: System, app: str, commit: str) -> None:
        staged.append(commit)
        if happens:
            happens.pop(0)()
        right(system, app, commit)

    monkeypatch.setattr(release, "stage", stage)

    def let(*actions: Callable[[], object]) -> list[str]:
        happens.extend(actions)
        return staged

    return let


def test_what_is_pushed_during_a_deploy_is_deployed_by_it(
    device: Device, meanwhile: Meanwhile, capsys: pytest.CaptureFixture[str]
) -> None:
    first = device.repo.head()
    staged = meanwhile(lambda: device.repo.commit({"note": "2"}))
    outcome = device.deploy()
    second = device.repo.head()
    assert staged == [first, second]
    assert outcome.ok and outcome.text == f"garden: {second[:12]} deployed"
    assert f"garden: {first[:12]} deployed\n" in capsys.readouterr().out
    assert (device.record().commit, device.record().good) == (second, (first,))
    assert idle.unmoved(str(device.root), "garden")


def test_pushing_without_end_does_not_deploy_without_end(
    device: Device, meanwhile: Meanwhile
) -> None:
    staged = meanwhile(*(lambda n=n: device.repo.commit({"note": str(n)}) for n in range(9)))
    assert device.deploy().ok
    assert len(staged) == 3 and device.record().commit == staged[-1] != device.repo.head()
    assert not idle.unmoved(str(device.root), "garden"), "the next poll sees the newest one"


def test_the_commit_that_mends_a_refused_one_does_not_wait(
    device: Device, meanwhile: Meanwhile
) -> None:
    bad = device.repo.commit({".piot.yaml": "piot: 2\n"})
    meanwhile(lambda: device.repo.commit({".piot.yaml": MANIFEST}))
    outcome = device.deploy()
    assert outcome.ok and device.record().commit == device.repo.head()
    assert device.record().failure(bad)


def test_a_refused_commit_that_comes_back_meanwhile_is_not_tried(
    device: Device, meanwhile: Meanwhile
) -> None:
    good = device.repo.head()
    bad = device.repo.commit({".piot.yaml": "piot: 2\n"})
    assert not device.deploy().ok
    device.repo.rewind(good)
    staged = meanwhile(lambda: device.repo.rewind(bad))
    assert device.deploy().ok
    assert staged == [bad, good] and device.record().commit == good


@pytest.mark.parametrize("how", ["hold", "tag", "quiet", "gone"])
def test_what_keeps_commits_back_counts_for_one_that_comes_meanwhile(
    device: Device, meanwhile: Meanwhile, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = device.repo.head()

    def push() -> None:
        device.repo.commit({"note": "2"})
        if how == "hold":
            state.hold(device.system, "garden", state.Hold("a visit", 0.0))
        elif how == "tag":
            device.repo.tag("piot/hold")
        elif how == "gone":
            device.repo.bare.rename(device.root / "away")

    if how == "quiet":
        device.source(quiet=[0, 24 * 60 - 1])
        moment = time.strptime("2026-11-27 12:00", "%Y-%m-%d %H:%M")
        monkeypatch.setattr(time, "localtime", lambda *_: moment)
    staged = meanwhile(push)
    outcome = device.deploy()
    second = "" if how == "gone" else device.repo.head()
    assert outcome.ok and device.record().commit == first
    # In quiet hours it is made ready, as it would be by a poll.
    assert staged == ([first, second] if how == "quiet" else [first])
    assert device.record().ready == (second if how == "quiet" else "")
    if how == "gone":
        (device.root / "away").rename(device.repo.bare)
        device.repo.commit({"note": "3"})
    assert how == "quiet" or not idle.unmoved(str(device.root), "garden")


def test_a_bundle_is_asked_once(device: Device, meanwhile: Meanwhile) -> None:
    bundle = device.root / "garden.bundle"
    device.repo.git("bundle", "create", "-q", str(bundle), "main")

    def another() -> None:
        device.repo.commit({"note": "2"})
        device.repo.git("bundle", "create", "-q", str(bundle), "main")

    staged = meanwhile(another)
    assert deploy.deploy(device.system, "garden", bundle="/garden.bundle").ok
    assert len(staged) == 1
