"""Every folder in tests/cases/conf is a piot.conf and what must come of it, literally.

A good case has `expected.plan`, all items in order (`\\` on the last line of a file: no newline at
its end); a bad case, called bad-…, has `expected.err`. Nothing else may appear. After a wanted
change of the renderer or of a message:

    PIOT_REWRITE=1 python3 -m pytest tests/unit/test_cases_conf.py && git diff tests/cases
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from piot_firstboot import conftext, settings
from piot_firstboot.config import parse
from piot_firstboot.errors import ConfigError
from piot_firstboot.facts import Facts
from piot_firstboot.items import key
from piot_firstboot.plan import diff, owned
from piot_firstboot.render import render_config
from tests.kit.plantext import parts_text

CASES = Path(__file__).parent.parent / "cases" / "conf"
NAMES = sorted(path.parent.name for path in CASES.glob("*/piot.conf"))
REWRITE = bool(os.environ.get("PIOT_REWRITE"))
# A key that opens nothing: it was made for these cases.
KEY = """\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW
QyNTUxOQAAACBYeIZA1W34qWHVmjkP2dg0p8HKkNrM7EgbpIbewuTiAQAAAIgFCHOcBQhz
nAAAAAtzc2gtZWQyNTUxOQAAACBYeIZA1W34qWHVmjkP2dg0p8HKkNrM7EgbpIbewuTiAQ
AAAEAcVesQEKIx02PqMaFgQasnblF5YFOEZIZ5NB2xNJ0QhVh4hkDVbfipYdWaOQ/Z2DSn
wcqQ2szsSBukht7C5OIBAAAAAAECAwQF
-----END OPENSSH PRIVATE KEY-----
"""
FILES = {name: b"-----\n" for name in ("ca.pem", "device.pem", "device.key")}
FACTS = Facts(
    serial="10000000abcdef12",
    mac="b827ebcdef12",
    model="Raspberry Pi 4 Model B Rev 1.4",
    host="raspberrypi",
    network="networkmanager",
    ntp="timesyncd",
    boot="/boot/firmware",
    codename="trixie",
    files={
        **FILES,
        "garden_ed25519": KEY.encode(),
        "garden.txt": KEY.replace("\n", "\r\n").encode("utf-8-sig").rstrip(),
        "app.garden.deploy_key": KEY.encode(),
    },
    present=frozenset({"iw", "keyboard-setup"}),
)
KNOWN = {
    "zones": {"America/Argentina/Buenos_Aires", "America/New_York", "Europe/Berlin", "UTC"},
    "groups": {"audio", "dialout", "gpio", "i2c", "plugdev", "sudo", "video"},
    "locales": {"C.UTF-8", "de_DE.UTF-8", "en_GB.UTF-8", "sr_RS.UTF-8@latin"},
    "keyboards": {"de", "de nodeadkeys", "us", "us intl"},
    "shells": {"/bin/bash", "/bin/sh", "/usr/bin/fish"},
}
# What stands in the store of the device; `@stored` in a case means one of these.
STORED = {
    "API_TOKEN": "stored-token",
    "wifi.password": "stored-wifi-pass",
    "app.garden.deploy_key": KEY,
}


def outcome(data: bytes) -> tuple[str, str]:
    """Return the name and content of the one file that a case must have."""
    try:
        parts = render_config(parse(data, known=KNOWN, stored=STORED), FACTS)
    except ConfigError as error:
        return "expected.err", f"{error}\n"
    return "expected.plan", parts_text(parts)


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str) -> None:
    """The case comes to just what is written down, and twice to the same."""
    folder = CASES / name
    data = (folder / "piot.conf").read_bytes()
    file, text = outcome(data)
    assert file == ("expected.err" if name.startswith("bad-") else "expected.plan"), text
    assert outcome(data) == (file, text)
    if REWRITE:
        (folder / file).write_text(text)
    assert (folder / file).read_text() == text
    assert sorted(path.name for path in folder.iterdir()) == sorted([file, "piot.conf"])


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("bad-")])
def test_applied_once_nothing_is_left_to_change(name: str) -> None:
    """A system that is as planned differs from the plan in nothing."""
    data = (CASES / name / "piot.conf").read_bytes()
    parts = render_config(parse(data, known=KNOWN, stored=STORED), FACTS)
    items = [item for part in parts for item in part.items]
    assert diff(items, {key(item): item for item in items}, owned(items)) == ()


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_is_shown(name: str) -> None:
    """The words that stand for passwords and tokens in the cases are in no message."""
    _, text = outcome((CASES / name / "piot.conf").read_bytes())
    for word in ("hunter2", "ghp_token", "b3BlbnNz", "c2gtZWQy"):
        assert word not in text or not name.startswith("bad-")


@pytest.mark.parametrize("kind", ["good", "bad"])
def test_every_key_has_a_case(kind: str) -> None:
    """Each row of the table stands in a good folder, and in a bad one on a line that is wrong."""
    keys = {(row.section, row.key) for row in settings.SETTINGS}
    bad = kind == "bad"
    seen = {place for name in NAMES if name.startswith("bad-") is bad for place in _keys(name)}
    assert keys - seen == set()


def _keys(name: str) -> Iterator[tuple[str, str]]:
    """Yield section and key of each line of a case; of a bad one only of the lines refused."""
    try:
        _, blocks = conftext.read((CASES / name / "piot.conf").read_bytes())
    except conftext.NotText:
        return
    report = CASES / name / "expected.err"
    text = report.read_text() if report.exists() else ""
    wrong = {int(line) for line in re.findall(r"(?m)^piot\.conf:(\d+):", text)}
    for block in blocks:
        section = settings.section(block.name.partition(".")[0])
        rows = settings.keys(section.name) if section else {}
        for entry in block.entries:
            row = rows.get(entry.key) or rows.get("*")
            if row and (entry.line in wrong or not text):
                yield row.section, row.key
