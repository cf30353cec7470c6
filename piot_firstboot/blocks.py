"""Blocks of a manifest: keys held against rows of a table, every problem noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Mapping as Rows
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from piot_firstboot import yamlvalues
from piot_firstboot.yamltext import Mapping, Node, Place, Reading, Scalar, Sequence

REFUSED = object()  # stands for a value that was refused, its problem noted


@dataclass(frozen=True, slots=True)
class Type:
    """A type of values: what reads one, what people call it, and its JSON Schema."""

    read: Callable[[Reader, Node, str], Any]
    words: str
    schema: Rows[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: the blocks it may stand in, its name, type, default, meaning and an example.

    `help` ends without a full stop; `example` is the value as it may stand in a file.
    """

    where: tuple[str, ...]
    name: str
    type: Type
    default: Any
    help: str
    example: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of block: how messages call it, and its keys."""

    title: str
    rows: Rows[str, Key]


@dataclass(slots=True)
class Block:
    """One block of a file: the values of its keys, given or default."""

    where: str
    name: str
    place: Place
    broken: bool = False
    meant: set[str] = field(default_factory=set)  # by unknown keys: that they are missing is said
    _keys: dict[str, Place] = field(default_factory=dict)
    _values: dict[str, Any] = field(default_factory=dict)
    _rows: Rows[str, Key] = field(default_factory=dict)

    def has(self, key: str) -> bool:
        """Tell whether a key is given."""
        return key in self._keys

    def key(self, key: str) -> Place:
        """Return where a key stands."""
        return self._keys[key]

    def value(self, key: str) -> Any:
        """Return the value of a key, its default when it is absent or was refused."""
        return self._values[key] if key in self._values else self._rows[key].default

    def inner(self, key: str) -> Block | None:
        """Return the block under a key, unless it was refused."""
        block = self._values.get(key)
        return block if isinstance(block, Block) and not block.broken else None


class Reader:
    """Reads blocks by the rows of the table, noting every problem."""

    def __init__(self, reading: Reading, kinds: Rows[str, Kind]) -> None:
        """Read by the rows of these kinds of blocks, into the problems of this text."""
        self.reading = reading
        self._kinds = kinds
        self._blocks: list[Block] = []

    def blocks(self, where: str) -> list[Block]:
        """Return the blocks read so far of one kind."""
        return [block for block in self._blocks if block.where == where]

    def block(self, where: str, node: Node, *, name: str = "", place: Place | None = None) -> Block:
        """Read a block; `place` is where its name stands."""
        rows = self._kinds[where].rows
        block = Block(where, name, place or node.place, _rows=rows)
        if not isinstance(node, Mapping):
            block.broken = True
            hint = "put its keys on the following lines, indented"
            if where in ("services", "jobs") and isinstance(node, Scalar) and node.text:
                hint = f"did you mean {name}: {{run: {node.text}}}?"
            self.reading.problem(node.place, f"{name or where} takes keys, not a value", hint)
            return block
        for key, value in node.pairs:
            row = rows.get(key.text)
            if row is None:
                self._unknown(where, key)
                block.meant |= set(get_close_matches(key.text.lower(), list(rows), 1))
                continue
            block._keys[key.text] = key.place
            found = row.type.read(self, value, key.text)
            if found is not REFUSED:
                block._values[key.text] = found
        for row in rows.values():
            if row.required and not block.has(row.name) and row.name not in block.meant:
                owner = name or where
                missing = (
                    f"{row.name}: is missing" if where == "top" else f"{owner} has no {row.name}"
                )
                self.reading.problem(block.place, missing, f"write {row.name}: {row.example}")
        self._blocks.append(block)
        return block

    def _unknown(self, where: str, key: Scalar) -> None:
        """Say of an unknown key what it may have been meant to be."""
        word, kind = key.text, self._kinds[where]
        close = yamlvalues.did_you_mean(word, kind.rows)
        others = [other.title for other in self._kinds.values() if word in other.rows]
        if not close or others:
            close = f"known: {' '.join(kind.rows)}"
        if others:
            close = f"{word} belongs {' or '.join(others)}"
        self.reading.problem(key.place, f"unknown key {yamlvalues.shown(word)} {kind.title}", close)

    def unit_name(self, key: Scalar) -> bool:
        """Judge the name of a service or job."""
        return self.scalar(key, yamlvalues.unit_name) is not REFUSED

    def scalar(self, node: Scalar, parse: Callable[[str], Any], key: str = "") -> Any:
        """Parse a text; what it raises becomes a problem at its place."""
        try:
            if key and node.plain and not node.text:
                raise ValueError("a value is missing")
            return parse(node.text)
        except ValueError as error:
            message, hint = (*error.args, "", "")[:2]
            self.reading.problem(node.place, f"{key}: {message}" if key else message, hint)
            return REFUSED

    def scalars(self, node: Node, key: str) -> tuple[Scalar, ...] | None:
        """Return the texts of a list; a single text is a list of one."""
        if isinstance(node, Scalar):
            return () if node.plain and not node.text else (node,)
        if isinstance(node, Mapping):
            self.reading.problem(node.place, f"{key} takes a list, not keys")
            return None
        return self._texts(node, key)

    def texts(self, node: Sequence, key: str) -> tuple[str, ...] | None:
        """Return the items of a list as they are."""
        found = self._texts(node, key)
        return None if found is None else tuple(item.text for item in found)

    def _texts(self, node: Sequence, key: str) -> tuple[Scalar, ...] | None:
        wrong = [item for item in node.items if not isinstance(item, Scalar)]
        for item in wrong:
            hint = 'put quotes around a text that contains ": "'
            self.reading.problem(item.place, f"{key} takes a list of texts", hint)
        return None if wrong else tuple(i for i in node.items if isinstance(i, Scalar))

    def pairs(self, node: Node, key: str) -> tuple[tuple[Scalar, Node], ...]:
        """Return the rows of a mapping; an empty value is an empty mapping."""
        if isinstance(node, Mapping):
            return node.pairs
        if not (isinstance(node, Scalar) and node.plain and not node.text):
            self.reading.problem(node.place, f"{key} takes `name: value` lines")
        return ()


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a hint: the closest known word, else all of them."""
    names = list(known)
    listed = f"there is {', '.join(names)}" if 0 < len(names) <= 8 else ""
    return yamlvalues.did_you_mean(word, names) or listed
