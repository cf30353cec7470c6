"""Services that a deploy leaves alone, on a tree: what the unit files name afterwards."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import deploy, state, transaction
from tests.kit.apptree import UNITS, Device

MANIFEST = """\
piot: 1
services:
  web: {run: ./web/run.sh, watch: [web, "conf/*.ini"]}
  all: {run: ./all.sh}
jobs:
  tick: {run: ./all.sh, every: 1min}
"""
RUN = "#!/bin/sh\nsleep 1000\n"
FILES = {".piot.yaml": MANIFEST, "web/run.sh": RUN, "all.sh": RUN, "conf/a.ini": "1"}


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device that has deployed a first commit."""
    made = Device(tmp_path)
    made.repo.commit(FILES, "first")
    assert made.deploy().ok
    return made


def named(device: Device, unit: str) -> str:
    """Return the one commit that a unit names."""
    (commit,) = set(re.findall(r"[0-9a-f]{40}", device.unit(f"piot-garden-{unit}.service")))
    return str(commit)


def push(device: Device, **files: str | None) -> str:
    """Commit files, by the words of NAMES, and deploy them."""
    commit = device.repo.commit({NAMES[name]: text for name, text in files.items()})
    assert device.deploy().ok
    return commit


NAMES = {
    "manifest": ".piot.yaml",
    "web": "web/run.sh",
    "new": "web/new",
    "ini": "conf/a.ini",
    "readme": "README",
    "worker": "new.sh",
}


def test_only_what_a_service_watches_moves_it(device: Device) -> None:
    first = named(device, "web")
    second = push(device, readme="x")
    assert (named(device, "web"), named(device, "all"), named(device, "tick")) == (
        first, second, second,
    )  # fmt: skip
    for files in ({"web": f"{RUN}#"}, {"new": "x"}, {"new": None}, {"ini": "2"}):
        commit = push(device, **files)
        assert named(device, "web") == commit, files
    last = push(device, readme="y")
    assert (named(device, "web"), named(device, "all")) == (commit, last)


def test_a_changed_unit_moves_it_and_other_units_do_not(device: Device) -> None:
    first = named(device, "web")
    push(device, manifest=MANIFEST.replace("1min", "2min"))
    assert named(device, "web") == first
    third = push(device, manifest=MANIFEST.replace("services:", "env: {A: b}\nservices:"))
    assert named(device, "web") == third


def test_its_release_outlives_the_others(device: Device) -> None:
    first = named(device, "web")
    for number in range(5):
        push(device, readme=str(number))
    assert named(device, "web") == first
    newest = device.record()
    assert set(device.releases()) == {first, newest.commit, *newest.good}
    staged = device.system.names("/var/lib/piot/apps/garden/staged")
    assert set(staged) == set(device.releases())
    moved = push(device, web=f"{RUN}#")
    assert named(device, "web") == moved
    assert first not in device.releases()


def test_it_stays_through_rollback_reconcile_and_resume(device: Device) -> None:
    first = named(device, "web")
    push(device, readme="x")
    third = push(device, readme="y")
    deploy.rollback(device.system, "garden")
    assert named(device, "web") == first
    deploy.forgive(device.system, "garden")
    assert device.deploy().ok
    transaction.reconcile(device.system, device.record())
    assert (named(device, "web"), named(device, "all")) == (first, third)


@pytest.mark.parametrize("step", ["switched", "probation"])
def test_it_stays_when_a_switch_is_resumed(device: Device, step: state.Step) -> None:
    first = named(device, "web")
    second = push(device, readme="x")
    record = replace(device.record(), step=step, commit=first, target=second, good=())
    state.save(device.system, record)
    # Cut off before the first unit was written, and after all of them were.
    for unit in ("all", ""):
        if unit:
            path = device.root / UNITS / f"piot-garden-{unit}.service"
            path.write_text(path.read_text().replace(second, first))
        assert device.deploy().ok
        assert (named(device, "web"), named(device, "all")) == (first, second)
        state.save(device.system, record)


def test_a_rollback_brings_back_what_it_changed(device: Device) -> None:
    second = push(device, readme="x")
    push(device, web=f"{RUN}#")
    deploy.rollback(device.system, "garden")
    # What the second release has is what the first one had.
    assert named(device, "web") == second


def test_without_its_release_it_moves(device: Device) -> None:
    first = named(device, "web")
    device.system.remove_tree(f"/var/lib/piot/apps/garden/releases/{first}")
    assert named(device, "web") == first
    assert push(device, readme="x") == named(device, "web")


def test_without_knowing_what_it_was_made_of_it_moves(device: Device) -> None:
    device.system.remove(f"/var/lib/piot/apps/garden/staged/{named(device, 'web')}")
    assert push(device, readme="x") == named(device, "web")


def test_a_unit_that_someone_edited_moves(device: Device) -> None:
    path = device.root / UNITS / "piot-garden-web.service"
    path.write_text(path.read_text() + "# mine\n")
    assert push(device, readme="x") == named(device, "web")


def test_a_program_that_the_old_release_lacks_is_no_obstacle(device: Device) -> None:
    first = named(device, "web")
    more = MANIFEST.replace("jobs:", "  new: {run: ./new.sh}\njobs:")
    second = push(device, manifest=more, worker=RUN)
    assert (named(device, "web"), named(device, "new")) == (first, second)
