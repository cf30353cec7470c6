"""A systemd unit file: ordered sections, repeated keys, systemd's own quoting."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

# A word of ExecStart= or Environment= that needs no quotes. systemd splits at blanks, and gives
# meaning to quotes, backslash, a leading `;`, `$` (variables) and `%` (specifiers); the last two
# are doubled by then.
_PLAIN = re.compile(r"[A-Za-z0-9_./:=@,+~^%$-]+")
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def quote(word: str, *, variables: bool = False) -> str:
    """Quote one word so that systemd reads back exactly these characters.

    `%` becomes `%%`. Unless `variables` is set, `$` becomes `$$`: right for ExecStart=, wrong for
    Environment=, where `$` has no meaning (use `assignment` there). systemd.service(5), COMMAND
    LINES; systemd.syntax(7), QUOTING.
    """
    word = word.replace("%", "%%")
    if not variables:
        word = word.replace("$", "$$")
    if _PLAIN.fullmatch(word):
        return word
    return f'"{"".join(map(_escape, word))}"'


def assignment(name: str, value: str) -> str:
    """Quote `NAME=value` for Environment=, where `$` is an ordinary character."""
    return quote(f"{name}={value}", variables=True)


def _escape(char: str) -> str:
    """Escape one character inside double quotes (C escapes, systemd.syntax(7))."""
    if char in _ESCAPES:
        return _ESCAPES[char]
    if ord(char) < 0x20 or ord(char) == 0x7F:
        return f"\\x{ord(char):02x}"
    return char


def specifiers(text: str) -> str:
    """Double every `%`, for values that expand specifiers but are not split (Description=)."""
    return text.replace("%", "%%")


@dataclass(slots=True)
class UnitFile:
    """One unit file under construction; `text()` is what is written.

    `name` is the file's name with its type, as in `piot-garden-web.service`.
    """

    name: str
    comment: str = ""
    _sections: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, section: str, key: str, value: str | int) -> None:
        """Append `key=value` to a section; a repeated key is a further line, as systemd wants."""
        text = str(value)
        if "\n" in text:
            raise ValueError(f"{key}= must be one line")
        self._sections.setdefault(section, []).append((key, text))

    def extend(self, section: str, pairs: Iterable[tuple[str, str | int]]) -> None:
        """Append several `key=value` lines."""
        for key, value in pairs:
            self.add(section, key, value)

    def get(self, section: str, key: str) -> list[str]:
        """Return every value of a key, in order."""
        return [v for k, v in self._sections.get(section, []) if k == key]

    def text(self) -> str:
        """Render the file, ending in one newline."""
        blocks = [
            "\n".join([f"[{name}]", *(f"{key}={value}" for key, value in pairs)])
            for name, pairs in self._sections.items()
        ]
        head = "".join(f"# {line}\n" for line in self.comment.splitlines())
        return head + "\n\n".join(blocks) + "\n"
