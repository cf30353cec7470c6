"""Sections and entries held against the rows of SETTINGS; every problem is noted, none is fatal."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from piot_firstboot import settings
from piot_firstboot.confproblems import MASK, Problems, shown
from piot_firstboot.conftext import UNREADABLE, Block, Entry, curly
from piot_firstboot.found import STORED, Found, is_stored
from piot_firstboot.table import Section, Setting
from piot_firstboot.values import BadValue, secret_name, suggest

# What can be done about a word that this device does not know, by the name of the set.
_ABSENT = {
    "zones": "`timedatectl list-timezones` prints them",
    "groups": "install what brings it first, or make it: sudo groupadd NAME",
    "shells": "install it first: sudo apt install NAME",
}
# Where an SSID or a password really has them.
_CURLY = 'write plain ones, ", or none; if they belong to it, put plain ones around them'
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}")
# Zero-width (non-)joiners within emoji and within words of scripts that need them: UAX #31, 2.3.
_JOINED = re.compile(r"(?<=[^\x00-\x7f])[\u200c\u200d](?=[^\x00-\x7f])")


class Judge:
    """Judges the sections of one file."""

    def __init__(
        self,
        problems: Problems,
        known: Mapping[str, Collection[str]],
        stored: Mapping[str, str] | None = None,
    ) -> None:
        """Note problems here; `known` holds the sets of words that `Setting.among` names.

        `stored` holds what `@stored` stands for; None takes it for good without knowing.
        """
        self.problems = problems
        self._known = known
        self._stored = stored

    def at_header(self, found: Found, message: str, hint: str = "") -> None:
        """Note a problem of a section as a whole."""
        found.clean = False
        self._header(found.block, message, hint)

    def at_value(self, found: Found, entry: Entry, message: str, hint: str = "") -> None:
        """Note a problem of a value that may be shown."""
        found.clean = False
        width = len(entry.value)
        self.problems.note(entry.line, entry.value_column, message, hint, width=width)

    def names(self, parts: list[Found], what: str) -> None:
        """Refuse two sections with the same name."""
        seen: dict[str, Found] = {}
        for part in parts:
            name = part.values.get("name")
            first = seen.setdefault(name, part) if name else part
            if first is not part and first.block.name != part.block.name:
                lines = f"line {first.block.line} and line {part.block.line}"
                hint = f"give one of them another name, as in [{part.section.name}.NAME]"
                self.at_header(part, f"two {what} are called {name}, {lines}", hint)

    def at_key(self, found: Found, entry: Entry, message: str, hint: str = "") -> None:
        """Note a problem of a key as such, whatever its value."""
        row = found.rows.get(entry.key) or found.rows["*"]
        self._at_key(found, entry, row, message, hint)

    def sections(self, blocks: list[Block]) -> list[Found]:
        """Judge every block and return those of known sections."""
        found = []
        seen: dict[str, int] = {}
        for block in blocks:
            part = self._section(block)
            name = block.name.partition(".")[2]
            rows = settings.keys(part.name) if part else {}
            result = Found(part, name, block, rows, clean=not block.flaws) if part else None
            for flaw in block.flaws:
                self.problems.flaw(flaw, rows)
            if result is None:
                continue
            if block.name in seen:
                first = seen[block.name]
                message = f"[{block.name}] stands twice, in line {first} and line {block.line}"
                self.at_header(result, message, "put all its keys under one header")
            seen.setdefault(block.name, block.line)
            self._name(result)
            self._entries(result)
            found.append(result)
        return found

    def _section(self, block: Block) -> Section | None:
        """Find the row of a block's section; note that there is none, or no header at all."""
        base = block.name.partition(".")[0]
        part = settings.section(base)
        if not block.name and not block.line:
            for entry in block.entries:
                owners = [s.name for s in settings.SECTIONS if entry.key in settings.keys(s.name)]
                hint = f"put [{owners[0]}] on a line above it" if owners else ""
                message = f"{shown(entry.key)} stands before any [section]"
                width = len(entry.key) or 1
                at = entry.value_column
                self.problems.note(
                    entry.line, entry.key_column, message, hint, width=width, masked=at
                )
        elif part is None and block.name != UNREADABLE:
            best = suggest(base, (s.name for s in settings.SECTIONS))
            listed = " ".join(f"[{s.name}]" for s in settings.SECTIONS)
            hint = f"did you mean [{best}]?" if best else f"there are {listed}"
            message = f"there is no section [{shown(block.name)}]"
            self._header(block, message, hint)
        return part

    def _header(self, block: Block, message: str, hint: str) -> None:
        """Note a problem at a header; text behind the bracket may be anything and is masked."""
        end = block.column + block.width
        self.problems.note(block.line, block.column, message, hint, width=block.width, masked=end)

    def _name(self, found: Found) -> None:
        """Judge the NAME of `[section.NAME]`."""
        base, dot, name = found.block.name.partition(".")
        if not dot:
            return
        column = found.block.column + 1 + len(base) + 1
        try:
            if found.section.parse_name is None:
                raise BadValue(f"[{base}] takes no name", f"write [{base}]")
            if not name:
                raise BadValue("the name is missing behind the dot", f"write [{base}.NAME]")
            found.values["name"] = found.section.parse_name(name)
        except ValueError as error:
            found.clean = False
            hint = getattr(error, "hint", "")
            self.problems.note(found.block.line, column, str(error), hint, width=max(1, len(name)))

    def _entries(self, found: Found) -> None:
        """Judge the keys and values of a section, and what is missing in it."""
        rows = found.rows
        meant: set[str] = set()
        for entry in found.block.entries:
            row = rows.get(entry.key) or rows.get("*")
            if row is None:
                meant.add(self._unknown(found, entry))
                continue
            if row.key == "*" and not self._named(found, entry):
                continue
            if row.key == "name" and found.name:
                message = f"the name stands in the brackets already: [{found.block.name}]"
                self._at_key(found, entry, row, message, "remove this line")
                continue
            first = found.entries.setdefault(entry.key, entry)
            if first is not entry and not row.many:
                message = f"{entry.key} is given twice, in line {first.line} and line {entry.line}"
                self._at_key(found, entry, row, message, "keep one of them")
            if not entry.value:
                message = f"{entry.key} has no value"
                self._at_key(found, entry, row, message, f"write {entry.key} = …, or remove it")
                continue
            self._value(found, entry, row)
        for row in rows.values():
            named = row.key == "name" and "." in found.block.name
            if row.required and not named and row.key not in (*found.entries, *meant):
                hint = f"add a line such as {row.key} = {row.example}"
                self.at_header(found, f"[{found.block.name}] has no {row.key}", hint)

    def _value(self, found: Found, entry: Entry, row: Setting) -> None:
        """Parse a value and keep it, or note why not."""
        secret = row.sensitivity == "secret"
        if row.stored and is_stored(entry.value):
            self._take_stored(found, entry, row)
            return
        odd = _invisible(entry.value, secret)
        if odd is not None:
            message = f"an invisible character stands here (U+{ord(entry.value[odd]):04X})"
            hint = "delete it, or type the value again"
            found.clean = False
            column = entry.value_column + (0 if secret else odd)
            masked = column if secret else None
            self.problems.note(entry.line, column, message, hint, masked=masked)
            return
        try:
            if curly(entry.value) and not entry.quoted:
                raise BadValue(
                    "these quotes are typographic, and would be part of the value", _CURLY
                )
            value = row.parse(entry.value)
            words = self._known.get(row.among, ())
            if words and value not in words:
                best = suggest(str(value), words)
                raise BadValue(
                    f"there is no {row.key.removesuffix('s')} {shown(str(value))}",
                    f"did you mean {best}?" if best else _ABSENT.get(row.among, ""),
                )
        except ValueError as error:
            found.clean = False
            hint = getattr(error, "hint", "")
            hidden = secret or getattr(error, "secret", False)
            if not hidden and re.search(r"\s[#;]", entry.value):
                hint = "a comment has a line of its own"
            width = len(MASK) if hidden else len(entry.value)
            column = entry.value_column
            masked = column if hidden else None
            self.problems.note(entry.line, column, str(error), hint, width=width, masked=masked)
            return
        if row.many:
            before = found.values.get(row.attribute, ())
            found.values[row.attribute] = tuple(dict.fromkeys((*before, value)))
        else:
            found.values.setdefault(entry.key if row.key == "*" else row.attribute, value)

    def _take_stored(self, found: Found, entry: Entry, row: Setting) -> None:
        """Put what the store holds in the place of `@stored`."""
        name = entry.key if row.key == "*" else f"{found.block.name}.{entry.key}"
        value = STORED if self._stored is None else self._stored.get(name)
        if value is None:
            found.clean = False
            message = f"nothing is stored for {entry.key}"
            hint = f"write the value here again, or run: sudo piot secret set {name}"
            width = len(entry.value)
            self.problems.note(entry.line, entry.value_column, message, hint, width=width)
            return
        found.from_store.add(entry.key)
        if row.file:
            value = name  # what is in the store stands for the file of that name
        found.values.setdefault(entry.key if row.key == "*" else row.attribute, value)

    def _unknown(self, found: Found, entry: Entry) -> str:
        """Note an unknown key; return the one that was probably meant."""
        rows = found.rows
        owners = [s.name for s in settings.SECTIONS if entry.key in settings.keys(s.name)]
        best = suggest(entry.key, rows)
        hint = f"there are {' '.join(rows)}"
        if owners:
            hint = f"it belongs in {' or '.join(f'[{name}]' for name in owners)}"
        elif best:
            hint = f"did you mean {best}?"
        message = f"there is no key {shown(entry.key)} in [{found.section.name}]"
        if not entry.key:
            message, hint = "the key is missing before the `=`", ""
        found.clean = False
        width, at = len(entry.key) or 1, entry.value_column
        self.problems.note(entry.line, entry.key_column, message, hint, width=width, masked=at)
        return best

    def _named(self, found: Found, entry: Entry) -> bool:
        """Judge a key that the author of the file names freely."""
        try:
            secret_name(entry.key)
            return True
        except BadValue as error:
            found.clean = False
            message, hint = str(error), error.hint
        plain = _NAME.fullmatch(entry.key) is not None
        if not entry.key:
            message = "the key is missing before the `=`"
        elif not plain:
            # What does not look like a name at all is a piece of a value that was wrapped.
            hint = "a value has just one line"
        at = entry.value_column if plain else entry.key_column
        width = len(entry.key) if plain else len(MASK)
        self.problems.note(entry.line, entry.key_column, message, hint, width=width, masked=at)
        return False

    def _at_key(self, found: Found, entry: Entry, row: Setting, message: str, hint: str) -> None:
        """Note a problem of a known key."""
        found.clean = False
        masked = entry.value_column if row.sensitivity == "secret" else None
        width = len(entry.key)
        self.problems.note(entry.line, entry.key_column, message, hint, width=width, masked=masked)


def _invisible(value: str, secret: bool) -> int | None:
    """Find a character that nobody typed on purpose; a secret may hold all but controls."""
    if secret:
        match = _CONTROL.search(value)
        return match.start() if match else None
    plain = _JOINED.sub("-", value)
    return next((i for i, c in enumerate(plain) if not c.isprintable() and c != "\t"), None)
