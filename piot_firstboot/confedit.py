"""One section of a piot.conf changed from outside; every other byte stays as it was."""

from __future__ import annotations

import re
from collections.abc import Mapping

from piot_firstboot import conftext
from piot_firstboot.conftext import BLANKS, FILL, LOST, Block, curly


def edit(data: bytes, section: str, values: Mapping[str, str | None]) -> bytes:
    """Return the file with these keys of `[section]` set; None takes a key out.

    A key keeps its place and loses its repeats, a new one goes below the section's last, a new
    section to the end of the file. The encoding and the line ends are the file's own. Raises
    NotText for a file that is no text, ValueError for a value that no line can hold.
    """
    for key, value in values.items():
        if value is not None and not fits(value):
            raise ValueError(f"no line can hold this {key}")
    _, blocks = conftext.read(data)
    start, encoding = conftext.shape(data)
    # As pieces that still hold their line ends, so that those that are not touched stay whole.
    lines = _split(data[start:], encoding)
    end = next((found for line in lines if (found := _line_end(line, encoding))), "\n")
    mine = [block for block in blocks if block.line and block.name == section]
    left = {key: value for key, value in values.items() if value is not None}
    for entry in (entry for block in mine for entry in block.entries):
        if entry.key in left:
            old = lines[entry.line - 1]
            line = f"{entry.key} = {quoted(left.pop(entry.key))}{_line_end(old, encoding)}"
            lines[entry.line - 1] = line.encode(encoding)
        elif entry.key in values:
            lines[entry.line - 1] = b""
    text = "".join(f"{key} = {quoted(value)}{end}" for key, value in left.items())
    if text:
        at = _below(mine[0]) if mine else len(lines)
        if not mine:
            text = f"[{section}]{end}{text}"
            text = f"{end}{text}" if any(line.strip() for line in lines) else text
        if at and lines[at - 1] and not _line_end(lines[at - 1], encoding):
            text = f"{end}{text}"
        lines.insert(at, text.encode(encoding))
    return data[:start] + b"".join(lines)


def comment_out(data: bytes, section: str, why: str) -> bytes:
    """Return the file with `[section]` and its keys made comments, below a line that says why.

    Raises NotText for a file that is no text.
    """
    _, blocks = conftext.read(data)
    start, encoding = conftext.shape(data)
    lines = _split(data[start:], encoding)
    end = next((found for line in lines if (found := _line_end(line, encoding))), "\n")
    for block in blocks:
        if block.line and block.name == section:
            for number in (block.line, *(entry.line for entry in block.entries)):
                lines[number - 1] = "# ".encode(encoding) + lines[number - 1]
            lines[block.line - 1] = f"# {why}{end}".encode(encoding) + lines[block.line - 1]
    return data[:start] + b"".join(lines)


def fits(value: str) -> bool:
    """Tell whether a line can hold this value and give it back."""
    if LOST.search(value) or FILL in value or re.search("[\r\n\0]", value):
        return False
    return not any("\ud800" <= char <= "\udfff" for char in value)


def quoted(value: str) -> str:
    """Write a value so that reading it gives just that: in quotes where it needs them."""
    outer = value != value.strip(BLANKS)
    paired = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return f'"{value}"' if outer or paired or curly(value) else value


def _below(block: Block) -> int:
    """Return after how many lines of the file the last entry of a section stands, or its header."""
    return max([block.line, *(entry.line for entry in block.entries)])


def _split(body: bytes, encoding: str) -> list[bytes]:
    """Split into lines just as `conftext.read` counts them, each with its end."""
    newline, back = "\n".encode(encoding), "\r".encode(encoding)
    step = len(newline)
    lines, begin = [], 0
    for at in range(0, len(body) - step + 1, step):
        unit, after = body[at : at + step], body[at + step : at + 2 * step]
        if unit == newline or (unit == back and after != newline):
            lines.append(body[begin : at + step])
            begin = at + step
    return [*lines, body[begin:]]


def _line_end(line: bytes, encoding: str) -> str:
    """Return how a line ends: `\\r\\n`, `\\n`, `\\r`, or "" for the last one."""
    for end in ("\r\n", "\n", "\r"):
        if line.endswith(end.encode(encoding)):
            return end
    return ""
