"""Setting keys of a piot.conf: just these, and nothing else moves."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot import conftext
from piot_firstboot.confedit import edit, fits, quoted

BLOCK = "# mine\n[wifi]\n  # at home\nssid=home\npassword = 'old one'\n\n[ssh]\nenabled = yes\n"


def entries(data: bytes, section: str) -> list[tuple[str, str]]:
    """Read a section back as the judge does."""
    _, blocks = conftext.read(data)
    return [(e.key, e.value) for block in blocks if block.name == section for e in block.entries]


def test_a_key_keeps_its_place_and_a_new_one_goes_below_the_last() -> None:
    done = edit(BLOCK.encode(), "wifi", {"password": "new", "country": "DE"}).decode()
    assert done == BLOCK.replace("password = 'old one'\n", "password = new\ncountry = DE\n")


def test_a_new_section_goes_to_the_end() -> None:
    assert edit(b"", "wifi", {"ssid": "x"}) == b"[wifi]\nssid = x\n"
    assert edit(b"[ssh]", "wifi", {"ssid": "x"}) == b"[ssh]\n\n[wifi]\nssid = x\n"
    assert edit(b"[ssh]\r\n", "wifi", {"ssid": "x"}) == b"[ssh]\r\n\r\n[wifi]\r\nssid = x\r\n"


def test_repeats_and_keys_set_to_none_go() -> None:
    data = b"[wifi]\nssid = a\npsk_hex = 00\nssid = b\n"
    assert edit(data, "wifi", {"ssid": "c", "psk_hex": None}) == b"[wifi]\nssid = c\n"


def test_below_the_header_of_an_empty_section_at_the_end_of_the_file() -> None:
    assert edit(b"[wifi]", "wifi", {"ssid": "x"}) == b"[wifi]\nssid = x\n"


def test_a_section_with_a_name_is_another() -> None:
    data = b"[wifi.home]\nssid = a\n"
    assert entries(edit(data, "wifi", {"ssid": "b"}), "wifi.home") == [("ssid", "a")]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0", "\ufffd", "\udc80", "\ud800", "\x18"])
def test_what_no_line_can_hold_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="no line can hold this password"):
        edit(b"", "wifi", {"password": value})


@pytest.mark.parametrize(
    "value",
    ["", " a", "a ", '"a"', "'a'", '"', "\"'", "\u00a0", "# a", "; a", "a=b", "[x]", "'", "“a”"],
)
def test_quotes_only_where_they_are_needed(value: str) -> None:
    assert entries(edit(b"", "wifi", {"ssid": value}), "wifi") == [("ssid", value)]
    assert (quoted(value) == value) == (value in ("", '"', "\"'", "# a", "; a", "a=b", "[x]", "'"))


TEXT = st.text(st.characters(codec="utf-8"), max_size=70).filter(fits)
NAMES = st.sampled_from(["ssid", "password", "country", "hidden"])
LINES = st.one_of(
    st.sampled_from(
        ["[wifi]", "[wifi.a]", " [ssh] ", "[wifi", "# ssid = x", "", "ssid = a", "password='b'"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0\u2028"), max_size=20),
)


@given(
    st.lists(LINES, max_size=8),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]),
    st.dictionaries(NAMES, st.none() | TEXT, min_size=1),
)
def test_reading_gives_what_was_set_and_no_other_line_changed(
    lines: list[str], end: str, final: bool, encoding: str, values: dict[str, str | None]
) -> None:
    text = end.join(lines) + (end if final else "")
    data = text.encode(encoding)
    if encoding == "utf-16-be":
        data = b"\xfe\xff" + data
    try:
        before, blocks = conftext.read(data)
    except conftext.NotText:
        return
    private = any("PRIVATE KEY" in line for line in lines)
    if private or sum(block.name == "wifi" for block in blocks) > 1:
        return
    done = edit(data, "wifi", values)
    assert conftext.shape(done) == conftext.shape(data)
    after, _ = conftext.read(done)
    others = [pair for pair in entries(data, "wifi") if pair[0] not in values]
    wanted = [(key, value) for key, value in values.items() if value is not None]
    if not any(re.search("BEGIN.*PRIVATE", value) for _, value in wanted):
        assert sorted(entries(done, "wifi")) == sorted(others + wanted)
    mine = {e.line for b in blocks if b.name == "wifi" for e in b.entries if e.key in values}
    kept = [line for number, line in enumerate(before, 1) if number not in mine]
    # In their order; what is new stands between or below them.
    rest = iter([*after, ""])
    assert all(any(line == other for other in rest) for line in kept)
    assert edit(done, "wifi", values) == done


@given(st.binary(max_size=200), TEXT)
def test_bytes_that_are_no_text_stay_or_are_refused(data: bytes, value: str) -> None:
    try:
        done = edit(data, "wifi", {"ssid": value})
    except conftext.NotText:
        return
    if not data.startswith((b"\xff\xfe", b"\xfe\xff")) and b"wifi" not in data:
        assert done.startswith(data)
