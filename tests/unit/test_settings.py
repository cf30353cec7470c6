"""The settings table, its example file, and the parsers of single values."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from piot_firstboot import manual, remote, settings, values
from piot_firstboot.config import Config, parse
from piot_firstboot.errors import Problem
from piot_firstboot.facts import Facts
from piot_firstboot.ledger import State
from piot_firstboot.render import render_config
from piot_firstboot.report import Line, Report
from piot_firstboot.sections.apps import App
from piot_firstboot.sections.device import Device
from piot_firstboot.sections.people import Account, Ssh
from piot_firstboot.table import Setting
from piot_firstboot.values import BadValue

EXAMPLE = Path(__file__).parents[2] / "examples" / "piot.conf"
HOLDERS: dict[str, type] = {"device": Device, "user": Account, "ssh": Ssh, "app": App}


# What must not stand together with another key of the example.
ALTERNATIVES = (
    "password ssid_hex psk_hex deploy_key eap identity anonymous_identity ca_cert client_cert "
    "client_key phase2 every once"
).split()


def uncommented() -> str:
    """Return the example with the `#` taken away in front of headers and keys."""
    return re.sub(r"(?m)^#(?=\S)", "", manual.example())


def test_example_is_the_file() -> None:
    """examples/piot.conf is what the table says; `python3 -c` in the message renews it."""
    renew = "from piot_firstboot.manual import example; print(example(), end='')"
    assert EXAMPLE.read_text() == manual.example(), f'python3 -c "{renew}" >examples/piot.conf'


def test_example_parses() -> None:
    """As it stands it says nothing; with the `#` taken away it says everything."""
    nothing = parse(manual.example().encode())
    assert nothing == parse(b"")
    other = "|".join(ALTERNATIVES)
    config = parse(re.sub(rf"(?m)^({other}) = .*\n", "", uncommented()).encode())
    assert None not in (config.device.hostname, config.device.timezone, config.ssh.enabled)
    assert config.accounts[0].password_hash and len(config.accounts[0].authorized_keys) == 2
    assert config.apps[0].poll == 300.0
    assert config.secrets == (("API_TOKEN", "s3cr3t # all of this"),)
    assert render_config(config, Facts(serial="1234567890", network="networkmanager"))


def test_example_lines_are_short() -> None:
    """Prose fits a narrow window, and keeps every word of the table."""
    text = manual.example()
    assert all(len(line) < 90 for line in text.splitlines() if line.startswith("# "))
    words = " ".join(line[2:] for line in text.splitlines() if line.startswith("# "))
    for row in settings.SETTINGS:
        assert row.help in words


@pytest.mark.parametrize("row", settings.SETTINGS, ids=lambda row: f"{row.section}.{row.key}")
def test_row(row: Setting) -> None:
    """Each row has a section, a good example, an attribute, and a default of the right kind."""
    assert settings.section(row.section)
    row.parse(row.example)
    assert not row.many or row.default == ()
    if row.section in HOLDERS:
        names = {field.name for field in dataclasses.fields(HOLDERS[row.section])}
        assert row.attribute in names or (row.section, row.key) == ("ssh", "authorized_key")
    assert row.help.endswith(".")


def test_secret_attributes_are_not_in_repr() -> None:
    """What the table calls secret is kept out of repr by the dataclasses."""
    for row in settings.SETTINGS:
        holder = HOLDERS.get(row.section)
        if row.sensitivity == "secret" and holder:
            field = next(f for f in dataclasses.fields(holder) if f.name == row.attribute)
            assert not field.repr
    assert not next(f for f in dataclasses.fields(Config) if f.name == "secrets").repr


GOOD: tuple[tuple[Callable[[str], object], str, object], ...] = (
    (values.boolean, "YES", True),
    (values.boolean, "0", False),
    (values.hostname, "a", "a"),
    (values.hostname, "4pi", "4pi"),
    (values.hostname, "{mac6}", "{mac6}"),
    (values.hostname, "a" * 63, "a" * 63),
    (values.timezone, "UTC", "UTC"),
    (values.timezone, "Etc/GMT+5", "Etc/GMT+5"),
    (values.poll, "10", 10.0),
    (values.poll, "1d", 86400.0),
    (values.poll, "OFF", None),
    (values.password_hash, "*", "*"),
    (values.password_hash, "!!", "!!"),
    (values.user_name, "a" * 32, "a" * 32),
    (values.secret_name, "_", "_"),
    (remote.app_name, "a" * 26, "a" * 26),
    (remote.app_name, "9_x-y", "9_x-y"),
    (remote.repo, "https://h/p", "https://h/p"),
    (remote.repo, "http://h:8080/p?x=@", "http://h:8080/p?x=@"),
    (remote.repo, "ssh://anna@h/p", "ssh://anna@h/p"),
    (remote.repo, "ssh://[::1]:22/p", "ssh://[::1]:22/p"),
    (remote.repo, "git://h/p", "git://h/p"),
    (remote.repo, "h:p", "h:p"),
    (remote.repo, "git@[::1]:p", "git@[::1]:p"),
    (remote.repo, "/srv/x.bundle", "/srv/x.bundle"),
    (remote.repo, "usb/x.bundle", "usb/x.bundle"),
    (remote.ref, "feature/ä", "feature/ä"),
    (remote.ref, "0123456789abcdef" * 4, "0123456789abcdef" * 4),
    (remote.name_from, "git@h:garden.git", "garden"),
    (remote.name_from, "https://h/a/Garden.git/", "garden"),
    (remote.name_from, "https://h/a/garden.bundle", "garden"),
)  # fmt: skip


@pytest.mark.parametrize(("parser", "text", "value"), GOOD)
def test_good(parser: Callable[[str], object], text: str, value: object) -> None:
    """Each text gives this value."""
    assert parser(text) == value


@pytest.mark.parametrize(
    "text", "a a/b -a a..b a@{ @ a@b a.lock a.lock/b a/ ä a~ .a a. a//b".split()
)
def test_ref_as_git(text: str) -> None:
    """A ref is good where git says so."""
    argv = ["git", "check-ref-format", "--branch", text]
    good = subprocess.run(argv, capture_output=True, check=False).returncode == 0
    try:
        assert remote.ref(text) == text and good
    except BadValue:
        assert not good or text == "@"  # git reads a lone @ as HEAD here


BAD: tuple[tuple[Callable[[str], object], str], ...] = (
    *((values.boolean, text) for text in ("2", "y", "enabled")),
    *((values.hostname, text) for text in ("-", "a..b", ".a", "a.", "{", "a}b", "ü", "1.2.3")),
    *((values.timezone, text) for text in ("/", "a/b/c/d", "a//b", "..", "-x", "x" * 65)),
    *((values.poll, text) for text in ("9s", "infinity", "-5min", "20y", "0")),
    *((values.password_hash, text) for text in ("x", "!x", "$6$salt$" + "a" * 85, "$9$a$b", "a:b")),
    *((values.user_name, text) for text in ("a$", "-a", "_a", "1a", "a.b", "a" * 33, "systemd-x")),
    *((values.secret_name, text) for text in ("a" * 65, "ä", "a b", "1")),
    *((remote.app_name, text) for text in ("-a", "a-", "_a", "a.b", "A", "retry", "a" * 27)),
    *((remote.repo, text) for text in ("fd::17", "file:///../x", "/a/../b", "/", "https:///x")),
    *((remote.repo, text) for text in ("ssh://-x/y", "-x:y", "x:-y", "HTTPS://h/p", "ftp://h/p")),
    *((remote.repo, text) for text in ("ssh://a:b@h/p", "git://a@h/p", "a:b@h:p", "a\\b", "~/x")),
    *((remote.repo, text) for text in ("https://h:0/x", "https://u@h/p", "../x.bundle", "a b:c")),
    *((remote.ref, text) for text in ("@", "a@{1}", "a/", "/a", "a//b", ".a", "a/.b", "a.")),
    *((remote.ref, text) for text in ("a~1", "a^", "a:b", "a?", "a[", "a\\b", "a\x7f", "x" * 201)),
)  # fmt: skip


@pytest.mark.parametrize(("parser", "text"), BAD)
def test_bad(parser: Callable[[str], object], text: str) -> None:
    """Each text is refused with a message."""
    with pytest.raises(BadValue) as caught:
        parser(text)
    assert str(caught.value) and "\n" not in str(caught.value) + caught.value.hint


def test_the_manual_page_is_what_the_table_says() -> None:
    """docs/piot.conf.5 names every section and key, and man has nothing to complain of."""
    renew = "from piot_firstboot.manual import page; print(page(), end='')"
    written = (EXAMPLE.parents[1] / "docs" / "piot.conf.5").read_text()
    assert written == manual.page(), f'python3 -c "{renew}" >docs/piot.conf.5'
    for row in settings.SETTINGS:
        assert row.key == "*" or f".BR {row.key} " in written.replace("\\-", "-"), row.key


def test_the_manual_page_documents_the_report() -> None:
    """Each key of report.json, and each state that a line can have."""
    told = manual.page().partition("REPORT FOR PROGRAMS")[2].partition(".SH FILES")[0]
    values = Report(True, "", lines=(Line(1, "a", "b", "applied"),)).values()
    words = {*values, *values["lines"][0], *Problem("", 1, 1, "").values()}
    words |= {*get_args(State), "noted", str(values["schema"])}
    assert {word for word in words if not re.search(rf"\b{word}\b", told)} == set()


def test_no_app_is_called_like_a_unit_of_which_each_app_has_one() -> None:
    """piot-deploy@garden beside piot-deploy-web would be hard to tell apart."""
    units = (Path(__file__).parents[2] / "units").glob("piot-*@.*")
    ours = {path.name.removeprefix("piot-").partition("@")[0] for path in units}
    assert ours <= remote.RESERVED and "peers" in ours
