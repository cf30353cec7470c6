"""The YAML files of cloud-init: mappings whose keys are taken one by one, with their lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from piot_firstboot import yamltext
from piot_firstboot.foreign import sourcetext
from piot_firstboot.foreign.carried import Draft
from piot_firstboot.yamltext import Mapping, Node, Scalar, Sequence

NO_SETTING = "PioT has no setting for this"
_TRUE = frozenset("true yes on y 1".split())
_FALSE = frozenset("false no off n 0".split())
_NULL = frozenset(("", "~", "null"))


@dataclass(slots=True)
class Block:
    """A mapping; each key that is read is taken out, so that what is left over can be named.

    cloud-init takes `-` and `_` alike in keys, and so does this.
    """

    draft: Draft
    name: str
    start: int
    pairs: dict[str, tuple[Scalar, Node]]

    def line(self, key: str) -> int:
        """Return the line that a key stands in, or where the mapping begins."""
        return self.pairs[key][0].place.line if key in self.pairs else self.start

    def take(self, key: str) -> Node | None:
        """Take a value of any kind; None if there is none, or null."""
        node = self.pairs.pop(key, (None, None))[1]
        return None if is_null(node) else node

    def text(self, key: str) -> str:
        """Take a text without blanks around it, empty if there is none."""
        return self.secret(key).strip()

    def secret(self, key: str) -> str:
        """Take a text in which blanks count, empty if there is none."""
        node = self.take(key)
        if isinstance(node, Scalar):
            return node.text.removesuffix("\n")  # that of a block
        if node is not None:
            self.wrong(node, key, "a text")
        return ""

    def flag(self, key: str) -> bool | None:
        """Take yes or no, None if there is neither."""
        node = self.take(key)
        if node is None:
            return None
        found = flag(node)
        if found is None:
            self.wrong(node, key, "true or false")
        return found

    def texts(self, key: str, separator: str = "") -> tuple[str, ...]:
        """Take a list of texts, or a single one, which a separator may divide."""
        node = self.take(key)
        if isinstance(node, Scalar):
            parts = node.text.split(separator) if separator else [node.text]
            return tuple(part.strip() for part in parts if part.strip())
        found = []
        for item in self._items(node, key):
            if isinstance(item, Scalar):
                found.append(item.text.strip())
            else:
                self.wrong(item, key, "a list of texts")
        return tuple(found)

    def block(self, key: str) -> Block:
        """Take a mapping, an empty one if there is none."""
        start, full = self.line(key), self._full(key)
        node = self.take(key)
        if isinstance(node, Mapping):
            return block(self.draft, node, full)
        if node is not None:
            self.wrong(node, key, "a mapping")
        return Block(self.draft, key, start, {})

    def nodes(self, key: str) -> tuple[Node, ...]:
        """Take a list of anything."""
        return self._items(self.take(key), key)

    def members(self, key: str) -> Iterator[tuple[Scalar, Block]]:
        """Take a mapping of mappings: names of the author's own, and what each stands for."""
        full, node = self._full(key).rpartition(".")[2], self.take(key)
        if isinstance(node, Mapping):
            for name, value in node.pairs:
                if isinstance(value, Mapping):
                    yield name, block(self.draft, value, f"{full}.{name.text}")
                elif is_null(value):
                    yield name, Block(self.draft, f"{full}.{name.text}", name.place.line, {})
                else:
                    self.wrong(value, name.text, "a mapping")
        elif node is not None:
            self.wrong(node, key, "a mapping")

    def leave(self, key: str, why: str) -> None:
        """Take a key, and leave it behind if it is there."""
        if key in self.pairs:
            line, full = self.line(key), self._full(key)
            if not is_null(self.pairs.pop(key)[1]):
                self.draft.leave(line, full, why)

    def leave_rest(self, why: str = NO_SETTING) -> None:
        """Leave behind all that was not taken."""
        for key in list(self.pairs):
            self.leave(key, why)

    def drop(self, *keys: str) -> None:
        """Take keys that say what is the case anyway."""
        for key in keys:
            self.pairs.pop(key, None)

    def wrong(self, node: Node, key: str, wanted: str) -> None:
        """Note that a value is of another kind than its key takes."""
        self.draft.problem(node.place.line, node.place.column, f"{key} must be {wanted}")

    def _full(self, key: str) -> str:
        """Name a key as the file does, behind the mapping that it is in."""
        word = self.pairs[key][0].text if key in self.pairs else key
        return f"{self.name}.{word}".lstrip(".")

    def _items(self, node: Node | None, key: str) -> tuple[Node, ...]:
        if isinstance(node, Sequence):
            return node.items
        if node is not None:
            self.wrong(node, key, "a list")
        return ()


def read(draft: Draft, data: bytes) -> Block | None:
    """Return the mapping that a file holds, or None with the reason noted."""
    text = sourcetext.read(draft, data)
    if text is None:
        return None
    reading = yamltext.read(text.encode(), draft.source)
    for found in reading.problems:
        draft.problem(found.line, found.column, found.message, found.hint)
    if reading.problems:
        return None
    if reading.root is None or is_null(reading.root):
        return Block(draft, "", 1, {})
    if not isinstance(reading.root, Mapping):
        draft.problem(reading.root.place.line, 1, "this file must be a mapping: key: value")
        return None
    return block(draft, reading.root, "")


def block(draft: Draft, node: Mapping, name: str) -> Block:
    """Return a mapping whose keys can be taken."""
    pairs = {key.text.replace("-", "_"): (key, value) for key, value in node.pairs}
    return Block(draft, name, node.place.line, pairs)


def flag(node: Node) -> bool | None:
    """Read what YAML 1.1 takes for true or false."""
    word = node.text.lower() if isinstance(node, Scalar) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def is_null(node: Node | None) -> bool:
    """Tell whether a value is none at all."""
    if node is None:
        return True
    return isinstance(node, Scalar) and node.plain and node.text.lower() in _NULL
