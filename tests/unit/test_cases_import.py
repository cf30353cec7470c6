"""Every folder in tests/cases/import holds files of other tools and what must come of them.

A good case has `expected.conf`, the piot.conf, and `expected.left`, what it does not say; where
`piot check` finds something in that piot.conf, `expected.open` has it. A bad case, called bad-…,
has `expected.err`. Nothing else may appear. After a wanted change:

    PIOT_REWRITE=1 python3 -m pytest tests/unit/test_cases_import.py && git diff tests/cases
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from piot_firstboot import settings
from piot_firstboot.convert import Conversion, convert
from piot_firstboot.foreign import formats, order

CASES = Path(__file__).parent.parent / "cases" / "import"
NAMES = sorted(path.name for path in CASES.iterdir())
GOOD = [name for name in NAMES if not name.startswith("bad-")]
REWRITE = bool(os.environ.get("PIOT_REWRITE"))
SECRETS = ("hunter2", "hunter3", "another horse", "4ac60f4a", "$5$pN7", "mywifipassphrase")
# user-data stands before network-config, dietpi.txt before dietpi-wifi.txt.
ORDER = sorted(
    formats.NAMES, key=lambda name: (name == "network-config", name == "dietpi-wifi.txt")
)


def converted(name: str) -> Conversion:
    """Import the files of a case."""
    files = [path for path in (CASES / name).iterdir() if not path.name.startswith("expected.")]
    files.sort(key=lambda path: ORDER.index(path.name) if path.name in ORDER else 0)
    return convert([str(path) for path in files])


def outcome(name: str) -> dict[str, str]:
    """Return name and content of the files that a case must have."""
    done = converted(name)
    if done.problems:
        return {"expected.err": "".join(f"{problem}\n" for problem in done.problems)}
    found = {"expected.conf": done.text}
    found["expected.left"] = "".join(f"{left}\n" for left in done.left)
    if done.open:
        found["expected.open"] = "".join(f"{problem}\n" for problem in done.open)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str) -> None:
    """The case comes to just what is written down, and twice to the same."""
    folder = CASES / name
    found = outcome(name)
    assert ("expected.err" in found) == name.startswith("bad-"), found
    assert outcome(name) == found
    if REWRITE:
        for path in folder.glob("expected.*"):
            path.unlink()
        for file, text in found.items():
            (folder / file).write_text(text)
    assert {path.name: path.read_text() for path in folder.glob("expected.*")} == found


@pytest.mark.parametrize("name", NAMES)
def test_no_message_shows_a_secret(name: str) -> None:
    """What is left and what is wrong is said by its name and place."""
    done = converted(name)
    shown = done.report() + "".join(line for line in done.text.splitlines() if line[:1] == "#")
    for word in SECRETS:
        assert word not in shown


@pytest.mark.parametrize("name", GOOD)
def test_programs_read_what_people_read(name: str) -> None:
    """The JSON has each value that the text has."""
    done = converted(name)
    for section, keys in done.sections.items():
        assert f"[{section}]\n" in done.text
        for key, value in keys.items():
            for one in value if isinstance(value, list) else [value]:
                assert f"\n{key} = " in done.text and one in done.text


def test_sections_and_keys_are_those_of_a_piot_conf() -> None:
    """The order of an imported file names nothing that a piot.conf does not have."""
    for section, keys in order.KEYS.items():
        assert settings.section(section), section
        assert set(keys) <= settings.keys(section).keys()
        for key in keys:
            assert settings.keys(section)[key].many == (key in order.MANY), (section, key)


def test_there_are_cases_of_each_format() -> None:
    """Each format has a case that is good."""
    files = {path.name for name in GOOD for path in (CASES / name).iterdir()}
    assert files >= set(formats.NAMES)
    assert len(NAMES) > 40
