"""Nodes of YAML as a person would write them: blocks, short things on one line, comments above."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as Comments
from typing import Any

from piot_firstboot.yamltext import Mapping, Node, Place, Scalar, Sequence

_NOWHERE = Place(0, 0)
_WIDTH = 88  # a flow longer than this becomes a block
_FLOW_DEPTH = 2  # what lies deeper than services.web may stand on one line
# Plain in block and flow alike; what other readers of YAML take for a number, a date or a truth
# value is quoted where it was not plain.
_PLAIN = re.compile(r"[A-Za-z0-9./_$][A-Za-z0-9 ./_:@%+=$~*;-]*")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def text(root: Mapping, comments: Comments[str, str] | None = None) -> str:
    """Spell a mapping as a file; `comments` are by dotted path, such as `services.web`."""
    return "".join(f"{line}\n" for line in _mapping(root, "", "", comments or {}))


def nodes(rows: dict[str, Any]) -> Mapping:
    """Make nodes of dicts, lists and texts."""

    def node(value: Any) -> Node:
        if isinstance(value, dict):
            return nodes(value)
        if isinstance(value, list):
            return Sequence(tuple(map(node, value)), _NOWHERE)
        return Scalar(str(value), _NOWHERE)

    return Mapping(tuple((Scalar(key, _NOWHERE), node(v)) for key, v in rows.items()), _NOWHERE)


def _mapping(node: Mapping, indent: str, path: str, comments: Comments[str, str]) -> Iterator[str]:
    depth = path.count(".") + 1 if path else 0
    for number, (key, value) in enumerate(node.pairs):
        inner = f"{path}.{key.text}" if path else key.text
        if number and not path and (isinstance(value, Mapping) or inner in comments):
            yield ""
        yield from (f"{indent}# {line}" for line in comments.get(inner, "").splitlines())
        name = scalar(key)
        short = f"{indent}{name}: {_flow(value)}"
        flows = not isinstance(value, Mapping) or depth >= _FLOW_DEPTH or not value.pairs
        commented = any(place.startswith(f"{inner}.") for place in comments)
        if isinstance(value, Scalar) or (flows and len(short) <= _WIDTH and not commented):
            yield short
        elif isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _mapping(value, f"{indent}  ", inner, comments)
        else:
            yield f"{indent}{name}:"
            yield from (f"{indent}  - {_flow(item)}" for item in value.items)


def _flow(node: Node) -> str:
    match node:
        case Scalar():
            return scalar(node)
        case Sequence():
            return f"[{', '.join(map(_flow, node.items))}]"
        case Mapping():
            return f"{{{', '.join(f'{scalar(k)}: {_flow(v)}' for k, v in node.pairs)}}}"


def scalar(node: Scalar) -> str:
    """Spell a text: plain where that is safe, else in quotes."""
    word = node.text
    plain = _PLAIN.fullmatch(word) and ": " not in word and word[-1] not in " :"
    if node.plain and plain:
        return word
    if word.isprintable() and ('"' in word or "\\" in word):
        return "'" + word.replace("'", "''") + "'"
    return '"' + "".join(map(_escaped, word)) + '"'


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    if char.isprintable() or char == "\u200d":
        return char
    number = ord(char)
    return f"\\x{number:02x}" if number < 256 else f"\\U{number:08x}"
