"""Secrets taken out of a piot.conf: nothing else in it changes, in whatever shape it is."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from piot_firstboot import conftext
from piot_firstboot.conceal import final, masked
from piot_firstboot.config import parse
from piot_firstboot.conftext import BLANKS, FILL, Entry
from piot_firstboot.found import STORED, is_stored

MARKS = {
    "utf-8": b"",
    "utf-8-sig": b"\xef\xbb\xbf",
    "utf-16-le": b"\xff\xfe",
    "utf-16-be": b"\xfe\xff",
}
# Blanks, quotes and what else means something in the file, more often than by chance.
_TEXT = st.text(
    st.one_of(
        st.sampled_from(" \t\"'=#;[]\\$%&<>äß🌱\u00a0\u200b@"),
        st.characters(codec="utf-8", exclude_characters="\r\n\0\ufffd" + FILL),
    ),
    max_size=30,
)


def put(text: str, encoding: str) -> bytes:
    """Encode as an editor would."""
    return MARKS[encoding] + text.encode(encoding.removesuffix("-sig"))


def entries(data: bytes) -> list[Entry]:
    """Return all entries of a file."""
    return [entry for block in conftext.read(data)[1] for entry in block.entries]


@st.composite
def files(draw: st.DrawFn) -> tuple[bytes, list[Entry]]:
    """Make a file of any shape, and choose some of its values."""
    line = st.one_of(
        st.tuples(
            st.sampled_from(["key", " a.b ", "ключ"]), _TEXT, st.sampled_from(["", '"', "'"])
        ).map(lambda part: f"{part[0]}={part[2]}{part[1]}{part[2]}"),
        _TEXT.map("#{}".format),
        _TEXT,
    )
    ends = st.sampled_from(["\n", "\r\n", "\r"])
    text = "".join(draw(st.lists(st.tuples(line, ends).map("".join), max_size=12)))
    text += draw(st.one_of(st.just(""), line))
    data = put(text, draw(st.sampled_from(sorted(MARKS))))
    try:
        there = [entry for entry in entries(data) if entry.value]
    except conftext.NotText:
        assume(False)
    # A file with a flaw is not applied, and so nothing in it is concealed.
    assume(not any(block.flaws for block in conftext.read(data)[1]))
    return data, [entry for entry in there if draw(st.booleans())]


@given(files())
def test_only_the_values_change(given: tuple[bytes, list[Entry]]) -> None:
    data, chosen = given
    encoding = conftext.shape(data)[1]
    over, ranges = masked(data, chosen)
    assert len(over) == len(data)
    covered = {at for start, end in ranges for at in range(start, end)}
    assert all(
        a == b for at, (a, b) in enumerate(zip(data, over, strict=True)) if at not in covered
    )
    assert [data[a:b] for a, b in ranges] == [e.value.encode(encoding) for e in chosen]
    done = final(data, chosen)
    for result in (over, done):
        want = [
            (e.line, e.key, e.key_column, e.value_column, e not in chosen and e.value)
            for e in entries(data)
        ]
        read = [
            (e.line, e.key, e.key_column, e.value_column, not is_stored(e.value) and e.value)
            for e in entries(result)
        ]
        assert read == [(*row[:4], row[4] if row[4] != STORED else False) for row in want]
    assert [e.value for e in entries(done) if e.line in {c.line for c in chosen}] == [STORED] * len(
        chosen
    )
    # What is left of the file is what was there: the pieces between the values, in their order.
    at, rest = 0, done
    for start, end in ranges:
        piece = data[at:start] + STORED.encode(encoding)
        assert rest.startswith(piece)
        at, rest = end, rest[len(piece) :]
    assert rest == data[at:]


@pytest.mark.parametrize("encoding", MARKS)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("secret", ["x", "hunter2", "🌱 “ß”", "'a", "a=b#c;d", "p" * 3000])
def test_the_secret_is_nowhere(encoding: str, end: str, secret: str) -> None:
    text = f'# Café{end}[secrets]{end}A = {secret}{end}; end{end}B=" {secret} "  '
    data = put(text, encoding)
    chosen = entries(data)
    assert [entry.value for entry in chosen] == [secret, f" {secret} "]
    raw = secret.encode(encoding.removesuffix("-sig"))
    over, _ = masked(data, chosen)
    done = final(data, chosen)
    blank = put(text.replace(secret, "-"), encoding)
    if raw not in blank:
        assert raw not in over and raw not in done
    whole = put(f'# Café{end}[secrets]{end}A = @stored{end}; end{end}B="@stored"  ', encoding)
    assert done == whole
    # The mask counts as the stored value; it never is one itself.
    stored = {"A": "one", "B": "two"}
    assert (
        dict(parse(over, stored=stored).secrets)
        == dict(parse(done, stored=stored).secrets)
        == stored
    )


@pytest.mark.parametrize("encoding", MARKS)
def test_a_power_cut_at_any_byte_leaves_a_file_that_stands_for_the_same(encoding: str) -> None:
    data = put("[secrets]\r\nA = zażółć 🌱\r\nB = 'ok'\r\n", encoding)
    chosen = entries(data)
    over, ranges = masked(data, chosen)
    width = len(FILL.encode(conftext.shape(data)[1]))
    stored = {"A": "zażółć 🌱", "B": "ok"}
    for start, end in ranges:
        for at in range(start, end + 1, width):
            half = data[:at] + over[at:]
            for torn in (half, over[:at] + data[at:]):
                assert dict(parse(torn, stored=stored).secrets) == stored
                # The next boot completes it.
                left = entries(torn)
                assert final(torn, left) == final(data, chosen)
                assert masked(torn, left)[0] == over


def test_entries_of_another_file_are_refused() -> None:
    chosen = entries(b"[secrets]\nA = one\n")
    for data in (b"[secrets]\nA = two\n", b"[secrets]\n\nA = one\n", b""):
        with pytest.raises(ValueError, match="line 2 of the file"):
            masked(data, chosen)


def test_no_value_may_hold_the_mask() -> None:
    assert FILL not in BLANKS and len(FILL.encode()) == 1
    with pytest.raises(Exception, match="nothing is stored for A"):
        parse(f"[secrets]\nA = x{FILL}y\n".encode(), stored={})
