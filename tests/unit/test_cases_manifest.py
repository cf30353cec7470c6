"""Every folder in tests/cases/manifest is a .piot.yaml and what must come of it, literally.

A good case has `expected/`: the unit files for Trixie (systemd 257) and `plan`, the other items
one per line; `expected-bookworm/` holds the files that differ for systemd 252. A bad case has
`expected.err`. What a device differs in from a plain one stands in `device.json`; other files
beside it are those of the release. Nothing else may appear. After a wanted change of the renderer
or of a message:

    PIOT_REWRITE=1 python3 -m pytest tests/unit/test_cases_manifest.py && git diff tests/cases
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from piot_firstboot.errors import ConfigError
from piot_firstboot.items import File, Item, Symlink, Unit, key
from piot_firstboot.manifest import Manifest, parse
from piot_firstboot.plan import diff, owned
from piot_firstboot.render.app_units import Release, render_app

CASES = Path(__file__).parent.parent / "cases" / "manifest"
NAMES = sorted(path.name for path in CASES.iterdir() if (path / ".piot.yaml").is_file())
GOOD = [name for name in NAMES if not name.startswith("bad-")]
REWRITE = bool(os.environ.get("PIOT_REWRITE"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SYSTEMD = {"expected": 257, "expected-bookworm": 252}


def find(word: str, directory: str) -> str:
    """Find programs as a device would that has all but one."""
    if word == "missing-program":
        raise LookupError(f"there is no program {word!r} on this device")
    if word.startswith("/"):
        return word
    if "/" in word:
        return os.path.normpath(f"/RELEASE/{directory}/{word}")
    return f"/usr/bin/{'python3' if word == 'python' else word}"


def load(name: str) -> Manifest:
    """Parse the manifest of a case."""
    return parse((CASES / name / ".piot.yaml").read_bytes())


def device(name: str) -> dict[str, Any]:
    """Read what is special about the device of a case."""
    file = CASES / name / "device.json"
    facts: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    makers = {"labels": tuple, "groups": frozenset, "controllers": frozenset}
    return {key: makers[key](value) if key in makers else value for key, value in facts.items()}


def render(name: str, systemd: int, **special: Any) -> tuple[Item, ...]:
    """Render the manifest of a case for its device."""
    manifest = load(name)

    def read(path: str) -> bytes:
        file = CASES / name / path
        if not file.is_file():
            raise LookupError(f"there is no file {path} in the release")
        return file.read_bytes()

    facts = {"app": manifest.name or "app", "hostname": "pi", "resolve": find, **device(name)}
    facts |= special
    release = Release(commit=COMMIT, path="/RELEASE", systemd=systemd, read=read, **facts)
    return render_app(manifest, release)


def as_files(items: tuple[Item, ...]) -> dict[str, str]:
    """Put rendered items as the files of a case: each unit, and a plan of all else."""
    folder = "/etc/systemd/system/"
    files: dict[str, str] = {}
    plan = []
    for item in items:
        match item:
            case File(path=path, content=content) if path.startswith("/etc/avahi/services/"):
                files[f"avahi-{path.rpartition('/')[2]}"] = content.decode()
            case File(path=path, content=content):
                assert path.startswith(folder)
                assert path.removeprefix(folder) not in files
                assert (item.mode, item.owner, item.group) == (0o644, "root", "root")
                files[path.removeprefix(folder)] = content.decode()
            case Symlink(path=path, target=target):
                plan.append(f"link {path.removeprefix(folder)} -> {target}")
            case Unit():
                because = " ".join(path.removeprefix(folder) for path in item.because)
                words = f"active={item.active} on_change={item.on_change or '-'} wait={item.wait:g}"
                plan.append(f"unit {item.name} {words} because={because or '-'}")
            case _:
                raise AssertionError(item)
    return {**files, "plan": "".join(f"{line}\n" for line in plan)}


def on_disk(folder: Path) -> dict[str, str]:
    """Read the expectations of a case."""
    return {path.name: path.read_text() for path in folder.iterdir()} if folder.is_dir() else {}


def rewrite(folder: Path, files: dict[str, str]) -> None:
    """Replace the expectations of a case."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in files.items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def test_there_are_many_cases() -> None:
    """Fewer would mean that folders were lost."""
    assert len(NAMES) >= 150
    assert {path.name for path in CASES.iterdir()} == set(NAMES)


@pytest.mark.parametrize("name", GOOD)
def test_good(name: str) -> None:
    """A good manifest gives these units on both releases, and nothing else."""
    trixie, bookworm = (as_files(render(name, version)) for version in SYSTEMD.values())
    assert trixie.keys() == bookworm.keys()
    differing = {key: text for key, text in bookworm.items() if text != trixie[key]}
    if REWRITE:
        rewrite(CASES / name / "expected", trixie)
        rewrite(CASES / name / "expected-bookworm", differing)
    assert on_disk(CASES / name / "expected") == trixie
    assert on_disk(CASES / name / "expected-bookworm") == differing
    assert not (CASES / name / "expected.err").exists()
    items = render(name, 257)
    assert items == render(name, 257)
    assert diff(items, {key(item): item for item in items}, owned(items)) == ()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in GOOD])
def test_bad(name: str) -> None:
    """A bad manifest gives exactly these problems."""
    with pytest.raises(ConfigError) as caught:
        render(name, 257)
    said = f"{caught.value}\n"
    expected = CASES / name / "expected.err"
    if REWRITE:
        expected.write_text(said)
    assert expected.read_text() == said
    assert not (CASES / name / "expected").exists()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    """systemd itself reads all units without a word, and finds the sandbox tight enough."""
    version = int(subprocess.check_output(("systemctl", "--version"), text=True).split()[1])
    judged = []
    for number, name in enumerate(GOOD):
        items = render(
            name, version, app=f"case{number}", resolve=lambda word, directory: "/usr/bin/true"
        )
        for item in items:
            if isinstance(item, File) and item.path.startswith("/etc/systemd/"):
                (tmp_path / Path(item.path).name).write_bytes(item.content)
                if b"\nUser=" in item.content:
                    judged.append(tmp_path / Path(item.path).name)
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:/usr/lib/systemd/system"}
    words = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no")
    units = sorted(tmp_path.iterdir())
    result = subprocess.run((*words, *units), env=env, text=True, capture_output=True)
    assert (result.returncode, result.stderr) == (0, "")
    tight = ("systemd-analyze", "security", "--offline=yes", "--threshold=25", "--no-pager")
    result = subprocess.run((*tight, *judged), env=env, text=True, capture_output=True)
    assert result.returncode == 0, result.stdout
