"""What was carried over from a foreign file, and what was left behind."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from piot_firstboot.errors import ConfigError, Problem

# A line as `key: value`, `- key: value` or `key = value`; all behind the mark may be a secret.
_KEY = re.compile(r"\s*(?:[-\[{]\s*)*[\"']?[\w.\[\] -]{1,60}[\"']?\s*[:=]")
MASK = "***"
_MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a piot.conf, and the line of the foreign file that it comes from.

    `section` is a header without its brackets; in `wifi.NAME` and `ethernet.NAME` the name may
    still change. A `*` in place of the NAME: whichever section of the kind comes first.
    """

    section: str
    key: str
    value: str = field(repr=False)
    line: int = 0


@dataclass(frozen=True, slots=True)
class Left:
    """Something that a piot.conf does not say; `why` tells a person what to do about it."""

    source: str
    line: int
    what: str
    why: str

    def values(self) -> dict[str, str | int]:
        """Return what programs need to know of it."""
        return {"source": self.source, "line": self.line, "what": self.what, "why": self.why}

    def __str__(self) -> str:
        """Render as `file:line: what: why`."""
        place = f"{self.source}:{self.line}" if self.line else self.source
        return f"{place}: {self.what}: {self.why}"


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of one file."""

    source: str
    entries: tuple[Entry, ...]
    left: tuple[Left, ...]


@dataclass(slots=True)
class Draft:
    """One file while it is read: what was carried over so far, left, and found wrong."""

    source: str
    lines: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def put(self, section: str, key: str, value: str | bool | int, line: int = 0) -> None:
        """Carry a value over."""
        text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
        self.entries.append(Entry(section, key, text, line))

    def put_all(self, section: str, key: str, values: Iterable[str], line: int = 0) -> None:
        """Carry a list over, one line each."""
        for value in values:
            self.put(section, key, value, line)

    def leave(self, line: int, what: str, why: str) -> None:
        """Note what is not carried over, by its name and never by its value."""
        self.left.append(Left(self.source, line, printable(what), why))

    def problem(self, line: int, column: int, message: str, hint: str = "") -> None:
        """Note something that cannot be read; of its line only the key is shown."""
        if len(self.problems) >= _MOST_PROBLEMS:
            return
        whole = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        # A problem of the line as a whole is marked where the line begins to say something.
        column = max(column, len(whole) - len(whole.lstrip()) + 1) if line else 0
        text = masked(whole)
        column = min(column, len(text)) if text else column
        self.problems.append(Problem(self.source, line, column, message, hint, text))

    def done(self) -> Carried:
        """Return what became of the file. Raises ConfigError when it could not be read."""
        if self.problems:
            raise ConfigError(self.problems)
        return Carried(self.source, tuple(self.entries), tuple(self.left))


def masked(line: str) -> str:
    """Return a line as far as its key; nothing of a line that has none."""
    match = _KEY.match(line)
    if not match:
        return ""
    value = line[match.end() :]
    blanks = value[: len(value) - len(value.lstrip())]
    return f"{match[0]}{blanks}{MASK}" if value.strip() else match[0]


def printable(text: str, most: int = 60) -> str:
    """Return a word from a foreign file so that it can stand in a message."""
    clean = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return clean if len(clean) <= most else f"{clean[: most - 1]}…"
