"""Problems of a piot.conf, each with its line as far as that may be shown.

The value of a secret or unknown key is masked, because it may be a password under a mistyped
name; so is everything that could not be read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from piot_firstboot.conftext import BLANKS, UNREADABLE, Flaw
from piot_firstboot.errors import Problem
from piot_firstboot.table import Setting

MASK = "***"
_MOST = 100  # problems; whoever has more will not read them
_SHOWN = 160  # characters of a line; a longer one is cut behind what is marked
# What stands before the host of a URL may be a token, but for the `git` that everyone writes.
_USERINFO = re.compile(r"(?<=://)(?!git@[^@]*$).*@")


@dataclass(slots=True)
class Problems:
    """What is wrong with one file; `count` goes on where `found` ends."""

    source: str
    lines: list[str] = field(repr=False)
    found: list[Problem] = field(default_factory=list)
    count: int = 0

    def note(
        self,
        line: int,
        column: int,
        message: str,
        hint: str = "",
        *,
        width: int = 1,
        masked: int | None = None,
    ) -> None:
        """Note a problem; the line is shown up to the column `masked`, or whole if None."""
        self.count += 1
        if self.count > _MOST:
            return
        text = self.lines[line - 1] if line else ""
        if masked is not None and text[masked - 1 :].strip():
            text = text[: masked - 1] + MASK
        text = _USERINFO.sub(f"{MASK}@", text)
        limit = max(_SHOWN, column + 20)
        if len(text) > limit:
            text = text[:limit] + "…"
        width = max(1, min(width, len(text) - column + 1))
        self.found.append(Problem(self.source, line, column, message, hint, text, width))

    def flaw(self, flaw: Flaw, rows: Mapping[str, Setting]) -> None:
        """Note a line that could not be read; `rows` are the keys of its section, if known.

        It is shown only where its first word is a key that holds no secret.
        """
        line = self.lines[flaw.line - 1]
        text = line.strip(BLANKS)
        word = re.split(r"[\s:=]", text, maxsplit=1)[0]
        row = rows.get(word)
        known = row is not None and row.sensitivity != "secret"
        column = flaw.column
        match flaw.kind:
            case "private":
                known = False
                message = "this is a private key, which must never leave its owner"
                hint = "paste the one line of the file that ends in .pub"
            case "lost":
                char = line[column - 1]
                byte = f"the byte 0x{ord(char) - 0xDC00:02X}"
                message = f"{byte if char != UNREADABLE else 'what stands here'} is not UTF-8"
                hint = "save the file as UTF-8"
                column = column if known else len(line) - len(line.lstrip(BLANKS)) + 1
            case "tail":
                message, hint = "text stands behind the `]`", "put it on a line of its own"
            case "header":
                message, hint = "this header has no `]` at its end", "write it like [device]"
                if re.fullmatch(r"\[[A-Za-z0-9._ -]{1,40}", text):
                    known, hint = True, f"write {text}]"
            case "equals":
                message, hint = "this line has no `=`", "write key = value, or # before a comment"
                rest = text[len(word) :].strip(" \t:")
                if known and rest and len(rest) < 60:
                    hint = f"write {word} = {rest}"
        width = len(text) if known else len(MASK)
        masked = None if known else column
        self.note(flaw.line, column, message, hint, width=width, masked=masked)

    def bounded(self) -> list[Problem]:
        """Return the problems, and how many more there are."""
        more = self.count - len(self.found)
        if not more:
            return self.found
        last = max(problem.line for problem in self.found)
        message = f"and {more} more problem{'s' * (more > 1)}"
        return [*self.found, Problem(self.source, last + 1, 1, message)]


def shown(text: str) -> str:
    """Cut a word of the file for a message, without characters that would spoil it."""
    short = text if len(text) <= 40 else f"{text[:40]}…"
    return "".join(c if c.isprintable() else "\ufffd" for c in short)
