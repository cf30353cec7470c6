"""The types of the table: what reads a node, its name for people, its JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from piot_firstboot import service_keys, yamlvalues
from piot_firstboot.blocks import REFUSED, Reader, Type
from piot_firstboot.yamltext import Node, Scalar, Sequence

Read = Callable[[Reader, Node, str], Any]
Parse = Callable[[str], Any]
Shape = dict[str, Any]

# A value is read as the text it is in the file; an editor's YAML may take it for a number.
TEXT: Shape = {"type": ["string", "number", "boolean"]}
NAMES: Shape = {"anyOf": [TEXT, {"type": "array", "items": TEXT}, {"type": "null"}]}
MAX_UNITS = 1000


def value(parse: Parse, words: str, **shape: Any) -> Type:
    """Make a type of one text."""

    def read(reader: Reader, node: Node, key: str) -> Any:
        if isinstance(node, Scalar):
            return reader.scalar(node, parse, key)
        what = "a list" if isinstance(node, Sequence) else "keys"
        reader.reading.problem(node.place, f"{key} takes a value, not {what}")
        return REFUSED

    return Type(read, words, shape or TEXT)


def choice(*options: str) -> Type:
    """Make a type of one of these words."""
    listed = f"{', '.join(options[:-1])} or {options[-1]}"
    return value(yamlvalues.choice(*options), listed, enum=[_loaded(word) for word in options])


def values(parse: Parse, words: str, *, some: bool = False) -> Type:
    """Make a type of a list of texts, doubles dropped; one text is a list of one.

    With `some` it may not be empty.
    """

    def read(reader: Reader, node: Node, key: str) -> Any:
        if some:
            _not_empty(reader, node, key)
        found = [reader.scalar(item, parse, key) for item in reader.scalars(node, key) or ()]
        return tuple(dict.fromkeys(v for v in found if v is not REFUSED))

    return Type(read, words, NAMES)


def placed(parse: Parse, words: str, *, some: bool = False) -> Type:
    """Make a type like `values` that keeps where each text stands, for checks across blocks."""

    def read(reader: Reader, node: Node, key: str) -> Any:
        if some:
            _not_empty(reader, node, key)
        items = reader.scalars(node, key) or ()
        good = [item for item in items if reader.scalar(item, parse, key) is not REFUSED]
        return tuple({item.text: item for item in reversed(good)}.values())[::-1]

    return Type(read, words, NAMES)


def at(parse: Callable[[str], tuple[str, ...]], words: str) -> Type:
    """Make a type of a list of times, each of which may stand for several."""

    def read(reader: Reader, node: Node, key: str) -> Any:
        _not_empty(reader, node, key)
        items = reader.scalars(node, key) or ()
        found = [reader.scalar(item, parse, key) for item in items]
        return tuple(dict.fromkeys(event for e in found if e is not REFUSED for event in e))

    return Type(read, words, NAMES)


def block(where: str, words: str) -> Type:
    """Make a type of a block of keys."""

    def read(reader: Reader, node: Node, key: str) -> Any:
        return reader.block(where, node, name=key)

    return Type(read, words, {"$ref": f"#/$defs/{where}"})


def named(where: str, words: str, most: int = MAX_UNITS) -> Type:
    """Make a type of blocks below names; their names and blocks are judged later."""

    def read(reader: Reader, node: Node, key: str) -> Any:
        rows = reader.pairs(node, key)
        if len(rows) > most:
            reader.reading.problem(rows[most][0].place, f"more than {most} {key}")
        return rows[:most]

    shape = {"type": ["object", "null"], "additionalProperties": {"$ref": f"#/$defs/{where}"}}
    return Type(read, words, shape)


def pairs(parse_name: Parse, parse: Parse, words: str) -> Type:
    """Make a type of `name: text` lines that keeps where each stands."""

    def read(reader: Reader, node: Node, key: str) -> Any:
        found = []
        for name, node_ in reader.pairs(node, key):
            known = reader.scalar(name, parse_name)
            if not isinstance(node_, Scalar):
                reader.reading.problem(node_.place, f"{name.text} takes a value")
            elif known is not REFUSED:
                given = reader.scalar(node_, parse, name.text)
                if given is not REFUSED:
                    found.append((name, given))
        return tuple(found)

    return Type(read, words, {"type": ["object", "null"], "additionalProperties": TEXT})


def _not_empty(reader: Reader, node: Node, key: str) -> None:
    """Refuse a list without an item."""
    empty = isinstance(node, Sequence) and not node.items
    if empty or (isinstance(node, Scalar) and node.plain and not node.text):
        reader.reading.problem(node.place, f"{key}: a value is missing")


def _node(reader: Reader, node: Node, key: str) -> Any:
    return node


def _env(reader: Reader, node: Node, key: str) -> Any:
    found = []
    for name, given in reader.pairs(node, key):
        known = reader.scalar(name, yamlvalues.env_name)
        if not isinstance(given, Scalar):
            hint = "put it in quotes if the program shall get this text"
            reader.reading.problem(given.place, f"{name.text} takes a text", hint)
        elif known is not REFUSED and reader.scalar(given, yamlvalues.env_value) is not REFUSED:
            found.append((name.text, given.text))
    return tuple(found)


def _systemd(reader: Reader, node: Node, key: str) -> Any:
    found: list[tuple[str, str]] = []
    for name, given in reader.pairs(node, key):
        judged = reader.scalar(name, service_keys.judge)
        for item in reader.scalars(given, name.text) or ((given,) if given is not node else ()):
            if isinstance(item, Scalar) and judged is not REFUSED:
                reader.scalar(item, partial(service_keys.judge_value, name.text))
                found.append((name.text, item.text))
    return tuple(found)


def _loaded(word: str) -> str | bool:
    """Return what an editor's YAML makes of a word."""
    return {"no": False, "yes": True}.get(word, word)


def _object(inner: Mapping[str, Any]) -> Shape:
    return {"type": ["object", "null"], "additionalProperties": inner}


COMMAND = Type(_node, "a command line, or a list of words", NAMES)
ENV = Type(_env, "NAME: value lines", _object({"type": ["string", "number", "boolean", "null"]}))
SYSTEMD = Type(_systemd, "Key: value lines", _object(NAMES))
FLAG = value(yamlvalues.flag, "true or false", type="boolean")


def span(least: float, most: float) -> Type:
    """Make a type of time spans within these bounds."""
    return value(yamlvalues.span(least, most), "a time span", type=["string", "number"])


def count(least: int, most: int) -> Type:
    """Make a type of whole numbers within these bounds."""
    words = f"a whole number from {least} to {most}"
    return value(yamlvalues.count(least, most), words, type="integer", minimum=least, maximum=most)
