"""What a build may not do, with one that only writes files."""

from __future__ import annotations

from pathlib import Path

import pytest

from piot_firstboot import build
from piot_firstboot.system import System
from tests.kit.apptree import FILES, MANIFEST, Device


@pytest.mark.parametrize(
    ("name", "text", "ok"),
    [
        (".piot.yaml", MANIFEST.replace("web: {", "web: {root: true, "), False),
        (".piot.yaml", MANIFEST + "# the same\n", True),
        (".piot.yaml", "piot: 1\n", False),
        ("made.sh", "#!/bin/sh\n", True),
    ],
)
def test_units_come_from_what_was_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, ok: bool
) -> None:
    device = Device(tmp_path)
    device.repo.commit(FILES, "first")
    assert device.deploy().ok
    real = build.prepare

    def prepare(system: System, app: str, commit: str, partial: str, *more: object) -> None:
        real(system, app, commit, partial, *more)  # type: ignore[arg-type]
        system.write(f"{partial}/{name}", text.encode())

    monkeypatch.setattr(build, "prepare", prepare)
    commit = device.repo.commit({"README": "x"})
    assert device.deploy().ok is ok
    record = device.record()
    assert (record.commit == commit) is ok
    if not ok:
        assert record.bad[0].deterministic
        assert ".piot.yaml" in record.bad[0].reason
