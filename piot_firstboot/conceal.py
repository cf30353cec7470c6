"""Secret values out of the bytes of a piot.conf, all else byte for byte as it was.

The mask has the length of what it covers and is itself read as `@stored` (`found.is_stored`), so
a file whose overwriting was cut off at any byte is as good as one with `@stored`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from piot_firstboot import conftext
from piot_firstboot.conftext import FILL, Entry
from piot_firstboot.found import STORED

Range = tuple[int, int]  # where a value begins in the file, and where it ends, in bytes


def masked(data: bytes, entries: Iterable[Entry]) -> tuple[bytes, tuple[Range, ...]]:
    """Return the file with these values overwritten in place, and where that is.

    Raises ValueError when the entries are not those of this file.
    """
    _, encoding = conftext.shape(data)
    fill = FILL.encode(encoding)
    ranges = _ranges(data, entries)
    result = bytearray(data)
    for start, end in ranges:
        result[start:end] = fill * ((end - start) // len(fill))
    return bytes(result), ranges


def final(data: bytes, entries: Iterable[Entry]) -> bytes:
    """Return the file with `@stored` for each of these values; quotes around one stay."""
    _, encoding = conftext.shape(data)
    stored = STORED.encode(encoding)
    pieces = []
    at = 0
    for start, end in _ranges(data, entries):
        pieces += [data[at:start], stored]
        at = end
    return b"".join([*pieces, data[at:]])


def _ranges(data: bytes, entries: Iterable[Entry]) -> tuple[Range, ...]:
    """Find the bytes of each value, in the order of the file."""
    _, encoding = conftext.shape(data)
    lines, blocks = conftext.read(data)
    there = {entry.line: entry for block in blocks for entry in block.entries}
    starts = tuple(_line_starts(data))
    ranges = set()
    for entry in entries:
        if there.get(entry.line) != entry or not entry.value:
            raise ValueError(f"line {entry.line} of the file is not this entry")
        # A line with an entry in it has no broken characters, so its bytes can be counted; but
        # for a file whose overwriting was cut off within one, where each byte counts as FILL.
        before = lines[entry.line - 1][: entry.value_column - 1]
        start = starts[entry.line - 1] + len(before.encode(encoding, "surrogateescape"))
        ranges.add((start, start + len(entry.value.encode(encoding))))
    return tuple(sorted(ranges))


def _line_starts(data: bytes) -> Iterator[int]:
    """Yield where each line begins, in bytes."""
    start, encoding = conftext.shape(data)
    newline, back = "\n".encode(encoding), "\r".encode(encoding)
    step = len(newline)
    yield start
    for at in range(start, len(data) - step + 1, step):
        unit = data[at : at + step]
        if unit == newline or (unit == back and data[at + step : at + 2 * step] != newline):
            yield at + step
