"""TOML files: their tables, with the line that each key stands in."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from piot_firstboot.foreign import sourcetext
from piot_firstboot.foreign.carried import Draft

_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"'-]+)\s*=")
NO_SETTING = "PioT has no setting for this"


@dataclass(slots=True)
class Table:
    """One table; each key that is read is taken out, so that what is left over can be named."""

    draft: Draft
    name: str
    values: dict[str, Any]
    lines: dict[str, int]

    def line(self, key: str) -> int:
        """Return the line that a key stands in, 0 if it could not be found."""
        return self.lines.get(f"{self.name}.{key}".lstrip("."), self.lines.get(self.name, 0))

    def take(self, key: str) -> Any:
        """Take a value of any kind, None if there is none."""
        return self.values.pop(key, None)

    def text(self, key: str) -> str:
        """Take a text, empty if there is none."""
        value = self.take(key)
        if value is None or isinstance(value, str):
            return value or ""
        self._wrong(key, "a text in quotes")
        return ""

    def flag(self, key: str) -> bool | None:
        """Take true or false, None if there is neither."""
        value = self.take(key)
        if value is None or isinstance(value, bool):
            return value
        self._wrong(key, "true or false")
        return None

    def texts(self, key: str) -> tuple[str, ...]:
        """Take a list of texts, or a single one."""
        value = self.take(key)
        if value is None:
            return ()
        items = value if isinstance(value, list) else [value]
        if all(isinstance(item, str) for item in items):
            return tuple(items)
        self._wrong(key, "a list of texts")
        return ()

    def table(self, key: str) -> Table:
        """Take a table within this one; an empty one if there is none."""
        value = self.take(key)
        if value is not None and not isinstance(value, dict):
            self._wrong(key, f"a table: [{key}]")
        found = value if isinstance(value, dict) else {}
        return Table(self.draft, f"{self.name}.{key}".lstrip("."), found, self.lines)

    def leave(self, key: str, why: str) -> None:
        """Take a key, and leave it behind if it is there."""
        if self.take(key) is not None:
            self.draft.leave(self.line(key), self._full(key), why)

    def leave_rest(self, why: str = NO_SETTING) -> None:
        """Leave behind all that was not taken."""
        for key in list(self.values):
            self.leave(key, why)

    def _full(self, key: str) -> str:
        return f"[{self.name}] {key}" if self.name else key

    def _wrong(self, key: str, wanted: str) -> None:
        message = f"{self._full(key)} must be {wanted}"
        self.draft.problem(self.line(key), 1, message)


def read(draft: Draft, data: bytes) -> Table | None:
    """Return the table that holds all others, or None with the reason noted."""
    text = sourcetext.read(draft, data)
    if text is None:
        return None
    try:
        return Table(draft, "", tomllib.loads(text), _lines(draft.lines))
    except RecursionError:
        draft.problem(0, 0, "this is nested too deeply")
    except ValueError as error:  # TOMLDecodeError, and what int() says of a number too long
        place = _PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else len(draft.lines) if place else 0
        column = int(place[2]) if place and place[2] else 1
        # What follows `:` is a piece of the file, and maybe of a password.
        said = _PLACE.sub("", str(error)).partition(":")[0] if place else "a value too long"
        hint = 'texts stand in quotes: key = "value"' if said == "Invalid value" else ""
        if said.startswith("Cannot "):
            said = "this key or table is given twice"
        draft.problem(line, column, f"not TOML: {said}", hint)
    return None


def _lines(lines: list[str]) -> dict[str, int]:
    """Find the line of each header and key, the first of each name."""
    found: dict[str, int] = {}
    section = ""
    for number, line in enumerate(lines, 1):
        header, key = _HEADER.match(line), _KEY.match(line)
        if header:
            section = header[1]
            found.setdefault(section, number)
        elif key:
            name = key[1].replace('"', "").replace("'", "")
            found.setdefault(f"{section}.{name}".lstrip("."), number)
    return found
