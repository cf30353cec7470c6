"""piot.conf as text: bytes, in whatever shape an editor left them → sections and entries.

Reading is tolerant of encodings, line ends and blanks. What a line means is `config`'s business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

MAX_SIZE = 64 * 1024
# Blank around keys and values: what one types, and what comes along from a web page.
BLANKS = " \t\v\f\u00a0\u2007\u202f\ufeff\u200b"
LOST = re.compile("[\udc80-\udcff\ufffd]")  # bytes that are no character in this encoding

UNREADABLE = "\ufffd"  # the name of a section whose header could not be read
# What overwrites a secret in place: CANCEL, one byte that no keyboard types and no secret may hold.
FILL = "\x18"

_CURLY = "“”„‟‘’‚‛«»"  # what phones and word processors make of plain quotes

_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_OTHER_FILES: tuple[tuple[bytes, str, str], ...] = (
    (b"{\\rtf", "this was saved as rich text (RTF)", "save it as plain text"),
    (b"PK\x03\x04", "this is a zip archive or an office document", "save it as plain text"),
    (b"\xd0\xcf\x11\xe0", "this is an office document", "save it as plain text"),
    (b"%PDF", "this is a PDF", "save it as plain text"),
    (b"bplist", "this is a web archive or a property list", "save it as plain text"),
    (b"\x1f\x8b", "this is a compressed file", "unpack it first"),
)
_HTML = re.compile(rb"\s*<(!doctype|html|head|body|\?xml|!--)", re.IGNORECASE)
_HEADER = re.compile(r"\[([^\[\]]*)\](.*)")


class NotText(Exception):
    """The file is not a text at all; `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        """Keep the hint beside the message."""
        self.hint = hint
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Entry:
    """One `key = value`; columns count from 1, `value` is without blanks and outer quotes.

    `quoted` tells whether there were such quotes.
    """

    line: int
    key: str
    key_column: int
    value: str = field(repr=False)
    value_column: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Flaw:
    """A line that cannot be read.

    `equals`: there is no `=`; `header`: a `[` without its `]`; `tail`: text behind the `]`;
    `lost`: bytes that are no characters; `private`: a private key begins.
    """

    line: int
    column: int
    kind: Literal["equals", "header", "tail", "lost", "private"]


@dataclass(slots=True)
class Block:
    """A section header and what stands below it; `name` is empty before the first header."""

    name: str
    line: int
    column: int = 1
    width: int = 1
    entries: list[Entry] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)


def read(data: bytes) -> tuple[list[str], list[Block]]:
    """Return the lines, and the blocks with their entries. Raises NotText."""
    lines = re.split(r"\r\n|\r|\n", decode(data))
    blocks = [Block("", 0)]
    private = False
    for number, line in enumerate(lines, 1):
        if FILL in line:
            # The power failed while this was overwritten, perhaps within a character.
            line = LOST.sub(FILL, line)
        text = line.strip(BLANKS)
        column = len(line) - len(line.lstrip(BLANKS)) + 1
        if private:
            # The rest of a pasted private key belongs to the line that began it.
            private = not re.match(r"-----END", text)
        elif not text or text[0] in "#;":
            continue
        elif re.search(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----", text):
            blocks[-1].flaws.append(Flaw(number, column, "private"))
            # Without an end in sight the lines that follow are judged for themselves.
            private = "-----END" not in text and any("-----END" in at for at in lines[number:])
        elif LOST.search(text):
            lost = LOST.search(line)
            at = lost.start() + 1 if lost else column
            if text[0] == "[":
                blocks.append(Block(UNREADABLE, number, column, len(text)))
            blocks[-1].flaws.append(Flaw(number, at, "lost"))
        elif text[0] == "[":
            blocks.append(_block(text, number, column))
        elif "=" in text:
            blocks[-1].entries.append(_entry(line, number, column))
        else:
            blocks[-1].flaws.append(Flaw(number, column, "equals"))
    return lines, blocks


def decode(data: bytes) -> str:
    """Decode UTF-8 with or without BOM, or UTF-16 with BOM. Raises NotText.

    Bytes that do not fit come out as characters that `LOST` finds.
    """
    if len(data) > MAX_SIZE:
        raise NotText(
            f"this file has more than {MAX_SIZE} bytes, which no piot.conf has",
            "is it the right file?",
        )
    start, encoding = shape(data)
    body = data[start:]
    for magic, message, hint in _OTHER_FILES:
        if body.startswith(magic):
            raise NotText(message, hint)
    if _HTML.match(body):
        raise NotText("this was saved as a web page (HTML)", "save it as plain text")
    if encoding != "utf-8":
        text = body.decode(encoding, "replace")
    elif b"\0" in body:
        text = "\0"
        if body[1::2].count(0) > len(body) // 4 or body[::2].count(0) > len(body) // 4:
            raise NotText("this is UTF-16 without its mark", "save it as UTF-8")
    else:
        text = body.decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise NotText("this is not a text file: it has NUL bytes", "is it the right file?")
    return text


def shape(data: bytes) -> tuple[int, str]:
    """Return where the text begins, behind the byte order mark, and its encoding."""
    return next(((len(mark), name) for mark, name in _BOMS if data.startswith(mark)), (0, "utf-8"))


def _block(text: str, number: int, column: int) -> Block:
    """Read a section header."""
    match = _HEADER.fullmatch(text)
    if not match:
        block = Block(UNREADABLE, number, column, len(text))
        block.flaws.append(Flaw(number, column, "header"))
        return block
    block = Block(match[1].strip(BLANKS), number, column, match.end(1) + 1)
    tail = match[2].lstrip(BLANKS)
    if tail:
        block.flaws.append(Flaw(number, column + len(text) - len(tail), "tail"))
    return block


def _entry(line: str, number: int, column: int) -> Entry:
    """Split a line at its first `=`."""
    left, _, right = line.partition("=")
    value = right.strip(BLANKS)
    start = len(left) + 2 + len(right) - len(right.lstrip(BLANKS))
    if not value:
        start = len(left) + 2
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    if quoted:
        value = value[1:-1]
        start += 1
    return Entry(number, left.strip(BLANKS), column, value, start, quoted)


def curly(value: str) -> bool:
    """Tell whether a value stands in typographic quotes, which are none to us."""
    return len(value) > 1 and value[0] in _CURLY and value[-1] in _CURLY
