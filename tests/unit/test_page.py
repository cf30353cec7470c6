"""The page of the fallback access point: what it shows, and where what is entered goes."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot import config, page
from piot_firstboot.errors import ConfigError, Problem
from piot_firstboot.newwifi import (
    Entry,
    Form,
    Network,
    beside,
    countries,
    country,
    enter,
    networks,
    read_form,
)
from piot_firstboot.page import View

HOME = Network(b"home", 80, "WPA2")
CAFE = Network("café".encode(), 40, "")
CORP = Network(b"corp", 50, "WPA2 802.1X")
ODD = Network(b"caf\xe9", 30, "WPA3")
NEAR = (HOME, CORP, CAFE, ODD)
ROWS = "# c\nDE\tGermany\nBF\tBurkina Faso\nCI\tCôte d'Ivoire\n"


class Reader(HTMLParser):
    """Collects elements and the text; complains about what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def read(data: bytes) -> Reader:
    """Read a page as a browser would."""
    reader = Reader()
    reader.feed(data.decode())
    reader.close()
    assert not reader.open
    return reader


def by_id(reader: Reader, name: str) -> dict[str, str | None]:
    """Return the attributes of an element."""
    return next(attrs for _, attrs in reader.found if attrs.get("id") == name)


def judged(entry: Entry) -> dict[str, tuple[Problem, ...]]:
    """Let the judge speak, and sort what it says."""
    try:
        config.parse(entry.data, stored={})
    except ConfigError as error:
        return beside(entry, error.problems)
    return {}


# -- what it shows ------------------------------------------------------------------------------


def test_every_field_has_a_label_and_every_network_is_there() -> None:
    reader = read(page.form(View("garden", "tok", NEAR, countries(ROWS), Form(country="DE"))))
    labels = {attrs.get("for") for tag, attrs in reader.found if tag == "label"}
    for tag, attrs in reader.found:
        if tag in ("input", "select") and attrs.get("type") != "hidden":
            assert attrs.get("id") in labels or attrs.get("name", "show") in ("keyless", "show")
    for text in ("home", "café", "caf\ufffd", "needs a user name", "Germany", "Côte d'Ivoire"):
        assert text in reader.text
    assert "checked" in by_id(reader, "n0")
    assert "disabled" in by_id(reader, "n1")
    assert not any(tag == "script" for tag, _ in reader.found)
    assert not any(key.startswith("on") for _, attrs in reader.found for key in attrs)


def test_problems_stand_beside_their_field_and_the_password_never_comes_back() -> None:
    problems = {"password": (Problem("piot.conf", 3, 1, "too <short>", "is it complete?"),)}
    data = page.form(View("garden", near=NEAR, form=Form(password="hunter22"), problems=problems))
    assert b"hunter22" not in data
    reader = read(data)
    field = by_id(reader, "password")
    assert field["aria-invalid"] == "true"
    assert field["aria-describedby"] == "password-error"
    assert by_id(reader, "password-error")
    assert "autofocus" in field
    assert "too <short> is it complete?" in reader.text
    assert "Error: Wi-Fi for garden" in reader.text


def test_mistakes_elsewhere_in_the_file_are_shown_with_their_line() -> None:
    problems = {"": (Problem("piot.conf", 12, 1, "there is no key hostnam", "hostname?"),)}
    text = read(page.form(View("garden", problems=problems))).text
    assert "Not saved." in text
    assert "piot.conf, line 12: there is no key hostnam hostname?" in text


TEXT = st.text(max_size=30)


@given(TEXT, TEXT, TEXT, st.binary(min_size=1, max_size=32), TEXT)
def test_nothing_gets_out_of_its_place(
    name: str, ssid: str, said: str, raw: bytes, message: str
) -> None:
    nasty = '"><script>alert(1)</script>'
    near = (Network(raw, 1, "WPA2"), Network(nasty.encode()[:32], 1, "WPA2"))
    form = Form(ssid=ssid + nasty, country=said + nasty)
    problems = {key: (Problem("", 0, 0, message + nasty, nasty),) for key in ("network", "")}
    view = View(name + nasty, nasty, near, {}, form, problems, nasty)
    for data in (page.form(view), page.trying(name + nasty, nasty, 3)):
        reader = read(data)
        assert not any(tag == "script" for tag, _ in reader.found)


def test_the_list_of_networks() -> None:
    text = (
        "686F6D65:40:WPA2\n686F6D65:80:WPA2\n:99:WPA2\n6F70656E:50:\nnonsense\n63:7:WPA2 802.1X\n"
    )
    assert networks(text) == (
        HOME,
        Network(b"open", 50, ""),
        Network(b"c", 7, "WPA2 802.1X"),
    )
    assert networks("00000000:50:WPA2\n") == ()


def test_countries_by_name() -> None:
    assert list(countries(ROWS)) == ["BF", "CI", "DE"]
    assert countries("") == {}


# -- a form -------------------------------------------------------------------------------------


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_a_form_comes_back_as_it_was_entered(ssid: str, password: str) -> None:
    body = urlencode({"network": "", "ssid": ssid, "password": password, "token": "t"}).encode()
    form = read_form(body)
    assert (form.ssid, form.password, form.token, form.keyless) == (ssid, password, "t", False)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_form_or_none(body: bytes) -> None:
    try:
        form = read_form(body)
    except ValueError:
        return
    try:
        entry = enter(b"", form, NEAR)
    except ConfigError:
        return
    config_problems = judged(entry)
    assert isinstance(config_problems, dict)


@pytest.mark.parametrize("body", [b"x", b"\xff=1", b"&".join([b"a=1"] * 21)])
def test_what_is_no_form(body: bytes) -> None:
    with pytest.raises(ValueError, match=""):
        read_form(body)


# -- where it goes ------------------------------------------------------------------------------


def test_the_first_network_becomes_wifi() -> None:
    entry = enter(b"[device]\n", Form("686f6d65", "", "correct horse", False, "DE"), NEAR)
    assert entry.data == (
        b"[device]\n\n[wifi]\nssid = home\npassword = correct horse\ncountry = DE\n"
    )
    assert entry.fresh
    assert judged(entry) == {}


def test_a_further_one_gets_a_section_named_after_it_and_the_country_stays() -> None:
    data = b"[wifi]\nssid = home\npassword = correct horse\ncountry = DE\n"
    entry = enter(data, Form("", "Garden Café 2", "1234567 ", country="DE"), NEAR)
    assert entry.data.decode() == data.decode() + (
        '\n[wifi.garden-caf-2]\nssid = Garden Café 2\npassword = "1234567 "\nhidden = yes\n'
    )
    assert judged(entry) == {}
    other = enter(data, Form("", "x", "12345678", country="FR"), NEAR)
    assert b"country = FR" in other.data.split(b"[wifi.x]")[0]
    assert country(other.data) == "FR"
    assert judged(other) == {}


def test_one_that_is_in_the_file_is_changed_in_its_place() -> None:
    data = b"[wifi.a]\nssid_hex = 686f6d65\npsk_hex = 00\ncountry = DE\npriority = 5\n"
    entry = enter(data, Form("686f6d65", "", "correct horse", False, "DE"), NEAR)
    assert entry.data == (
        b"[wifi.a]\ncountry = DE\npriority = 5\nssid = home\npassword = correct horse\n"
    )
    assert not entry.fresh


def test_the_last_failure_makes_room_for_the_next_try() -> None:
    data = b"[wifi]\nssid = home\npassword = correct horse\ncountry = DE\n"
    first = enter(data, Form("", "typo", "12345678", country="DE"), NEAR)
    second = enter(first.data, Form("", "right", "12345678", country="DE"), NEAR, first.section)
    assert second.section == "wifi.typo"
    assert b"ssid = typo" not in second.data
    assert judged(second) == {}


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        (Form(CAFE.ssid.hex()), ["ssid = café", "security = open"]),
        (Form("", "none", keyless=True), ["ssid = none", "security = open", "hidden = yes"]),
        (Form(ODD.ssid.hex(), "", "12345678"), ["ssid_hex = 636166e9", "password = 12345678"]),
        (Form(HOME.ssid.hex(), "", "a" * 64), ["ssid = home", f"psk_hex = {'a' * 64}"]),
    ],
)
def test_kinds_of_networks(form: Form, lines: list[str]) -> None:
    entry = enter(b"[wifi.z]\ncountry = DE\nssid = z\n", form, NEAR)
    assert entry.data.decode().splitlines()[5:] == lines
    assert judged(entry) == {}


@pytest.mark.parametrize(
    ("form", "where", "words"),
    [
        (Form("686f6d65", "", "short", country="DE"), "password", "8 to 63 bytes"),
        (Form("686f6d65", "", "", country="DE"), "password", ""),
        (Form("686f6d65", "", "correct horse"), "country", "needs to know the country"),
        (Form("686f6d65", "", "correct horse", country="Germany"), "country", ""),
        (Form("", "", "correct horse", country="DE"), "network", ""),
        (Form("", "x" * 33, "correct horse", country="DE"), "network", ""),
        (Form("686f6d65", "", "@stored", country="DE"), "password", "nothing is stored"),
    ],
)
def test_the_judge_speaks_beside_the_field(form: Form, where: str, words: str) -> None:
    entry = enter(b"", form, NEAR)
    problems = judged(entry)
    assert list(problems) == [where]
    assert any(words in problem.message for problem in problems[where])


def test_mistakes_that_were_there_before_belong_to_no_field() -> None:
    entry = enter(b"[device]\nhostnam = x\n", Form("686f6d65", "", "short", country="DE"), NEAR)
    problems = judged(entry)
    assert set(problems) == {"", "password"}


@pytest.mark.parametrize(
    ("form", "where"),
    [
        (Form("686f6d65", "", "a\nb", country="DE"), "password"),
        (Form("", "a\0", "12345678", country="DE"), "network"),
        (Form("", "\udcff", "12345678", country="DE"), "network"),
        (Form("686f6d65", "", "12345678", country="\x18"), "country"),
    ],
)
def test_what_no_line_can_hold_is_refused(form: Form, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        enter(b"", form, NEAR)
    assert list(beside(Entry(b"", "", fresh=True), caught.value.problems)) == [where]
