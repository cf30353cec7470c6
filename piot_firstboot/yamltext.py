"""YAML as a person means it: text scalars, positions kept, nothing executable, nothing unbounded.

The only module that imports yaml. It reads parser events, never PyYAML's constructors, so `12:30`,
`on`, `1.10`, `0755` and `~` stay the text they are until a schema gives them a type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from piot_firstboot import yamlerrors
from piot_firstboot.errors import Problem

MAX_BYTES = 256 * 1024
MAX_DEPTH = 12
# All nodes, those behind aliases counted each time they are used.
MAX_NODES = 50_000
MAX_PROBLEMS = 100

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# YAML 1.1, 4.1.4 (line breaks) and 4.1.1 (what may not stand in a file at all).
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands; line and column count from 1."""

    line: int
    column: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text; `plain` unless it was quoted or a block."""

    text: str
    place: Place
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys and values in the order of the file, each key once."""

    pairs: tuple[tuple[Scalar, Node], ...]
    place: Place


Node = Scalar | Sequence | Mapping


class Enough(Exception):
    """Reading ends here; what there is to say stands in the problems."""


@dataclass(slots=True)
class Reading:
    """A text that was read: its root, and the problems found in it so far."""

    source: str
    lines: list[str] = field(default_factory=list)
    root: Node | None = None
    problems: list[Problem] = field(default_factory=list)

    def problem(self, place: Place, message: str, hint: str = "") -> None:
        """Note a problem; the same one is noted once, however often an alias repeats it.

        Raises Enough with the hundredth, which no one would read.
        """
        message, hint = _one_line(message), _one_line(hint)
        text = self.lines[place.line - 1] if 0 < place.line <= len(self.lines) else ""
        text = text if len(text) <= 200 else ""  # a caret below a wrapped line shows nothing
        width = max(1, min(place.width, len(text) - place.column + 1))
        found = Problem(self.source, place.line, place.column, message, hint, text, width)
        if found in self.problems:
            return
        self.problems.append(found)
        if len(self.problems) >= MAX_PROBLEMS:
            raise Enough

    def within(self, scalar: Scalar, index: int) -> Place:
        """Return the place of one character of a scalar, as exactly as the file allows."""
        line = self.lines[scalar.place.line - 1] if scalar.place.line <= len(self.lines) else ""
        column = scalar.place.column + (0 if scalar.plain else 1)
        # Only where the text stands in the file unchanged does counting characters lead anywhere.
        if line[column - 1 : column - 1 + len(scalar.text)] == scalar.text:
            return Place(scalar.place.line, column + index)
        return scalar.place


def read(data: bytes, source: str) -> Reading:
    """Read one YAML document. `root` is None when the text cannot be used at all."""
    reading = Reading(source)
    text = decode(data, reading)
    if text is None:
        return reading
    try:
        reading.root = _parse(text, reading)
    except Enough:
        reading.root = None
    return reading


def _parse(text: str, reading: Reading) -> Node | None:
    """Return the root; syntax errors become problems."""
    try:
        return _Builder(reading, yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        line, column, message, hint = yamlerrors.explain(error, reading.lines)
        reading.problem(Place(line, column), message, hint)
    except yaml.YAMLError:
        reading.problem(Place(0, 0), "this is not YAML")
    return None


def decode(data: bytes, reading: Reading) -> str | None:
    """Return the text of a file and keep its lines, or None with the reason noted."""
    nowhere = Place(0, 0)
    if len(data) > MAX_BYTES:
        size = f"{len(data) // 1024} KiB"
        reading.problem(nowhere, f"the file has {size}; {MAX_BYTES // 1024} KiB are allowed")
        return None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        reading.problem(nowhere, "the file is UTF-16", "save it as UTF-8")
        return None
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        place = _place_of(before, len(before))
        reading.lines = [s.decode("utf-8", "replace") for s in data.splitlines()]
        reading.problem(place, "the file is not UTF-8", "save it as UTF-8")
        return None
    reading.lines = _BREAK.split(text)
    bad = _UNPRINTABLE.search(text)
    if bad:
        place = _place_of(text, bad.start())
        reading.problem(place, f"the character U+{ord(bad[0]):04X} may not stand in this file")
        return None
    return text


def _one_line(text: str) -> str:
    """Take out of a message what a value may hold and no terminal should be told."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _place_of(text: str, index: int) -> Place:
    """Turn an index into the text into a line and a column."""
    before = _BREAK.split(text[:index])
    return Place(len(before), len(before[-1]) + 1)


class _Builder:
    """Builds nodes from the parser's events."""

    def __init__(self, reading: Reading, events: Iterator[Any]) -> None:
        self._reading = reading
        self._events = events
        self._anchors: dict[str, Node | None] = {}
        self._sizes: dict[int, int] = {}
        self._nodes = 0

    def document(self) -> Node | None:
        """Return the root of the only document."""
        root: Node | None = None
        documents = 0
        for event in self._events:
            match type(event).__name__:
                case "DocumentStartEvent":
                    documents += 1
                    if documents > 1:
                        self._stop(_place(event), "a second document starts here; one is allowed")
                case "StreamStartEvent" | "StreamEndEvent" | "DocumentEndEvent":
                    pass
                case _:
                    root = self._node(event, 1)
        return root

    def _stop(self, place: Place, message: str, hint: str = "") -> None:
        self._reading.problem(place, message, hint)
        raise Enough

    def _count(self, place: Place, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > MAX_NODES:
            self._stop(place, f"more than {MAX_NODES} values, aliases counted where they are used")

    def _node(self, event: Any, depth: int) -> Node:
        place = _place(event)
        if depth > MAX_DEPTH:
            self._stop(place, f"nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, place)
        self._count(place, 1)
        before = self._nodes
        if event.tag is not None:
            self._reading.problem(
                place, f"the tag {event.tag} is not allowed", "values get their type from their key"
            )
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # until complete: an alias within is a loop
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(event.value, place, not event.style)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Sequence(tuple(self._items(depth)), place)
        else:
            node = self._mapping(place, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
            self._sizes[id(node)] = self._nodes - before + 1
        return node

    def _alias(self, event: Any, place: Place) -> Node:
        name = event.anchor
        node = self._anchors.get(name)
        if node is None:
            loop = name in self._anchors
            self._stop(place, f"*{name} contains itself" if loop else f"no &{name} before this")
        assert node is not None
        self._count(place, self._sizes[id(node)])
        return node

    def _items(self, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            yield self._node(event, depth + 1)

    def _mapping(self, place: Place, depth: int) -> Mapping:
        pairs: dict[str, tuple[Scalar, Node]] = {}
        merged: list[tuple[Scalar, Node]] = []
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._node(event, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if not isinstance(key, Scalar):
                self._reading.problem(key.place, "a key must be a word, not a list or a mapping")
            elif key.text == "<<" and key.plain:
                merged += self._merge(value)
            elif key.text in pairs:
                first = pairs[key.text][0].place.line
                self._reading.problem(
                    key.place, f"{key.text} is given twice, first in line {first}"
                )
            else:
                pairs[key.text] = (key, value)
        for key, value in merged:
            pairs.setdefault(key.text, (key, value))
        return Mapping(tuple(pairs.values()), place)

    def _merge(self, value: Node) -> list[tuple[Scalar, Node]]:
        """Return what `<<: *other` brings in; the mapping's own keys win."""
        sources = value.items if isinstance(value, Sequence) else (value,)
        pairs: list[tuple[Scalar, Node]] = []
        for node in sources:
            if isinstance(node, Mapping):
                pairs += node.pairs
            else:
                self._reading.problem(value.place, "<< needs a mapping, as in <<: *other")
        return pairs


def _place(event: Any) -> Place:
    start, end = event.start_mark, event.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return Place(start.line + 1, start.column + 1, max(1, width))
