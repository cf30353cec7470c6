"""A file of variables, one `NAME=value` a line: `ENV` of piku, `.env` of foreman and honcho.

Read as generously as these read it: `$NAME` of an earlier line, comments behind a value, a later
line that wins. Of what `envfile` takes as well, both make the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress

from piot_firstboot import yamlvalues
from piot_firstboot.envfile import ESCAPES
from piot_firstboot.yamltext import Enough, Mapping, Node, Place, Reading, Scalar, decode

_LINE = re.compile(r"\s*(?:export\s+)?([^\s=]+)\s*=\s*(.*?)\s*")
_VARIABLE = re.compile(r"\$(?:(\w+)|\{(\w+)\})")
_ESCAPED = re.compile(rf"\\(?P<escape>.)|{_VARIABLE.pattern}")


def read(source: str, data: bytes) -> Reading:
    """Read a file of variables into a mapping of them; a later line wins over an earlier one."""
    reading = Reading(source)
    if decode(data, reading) is None:
        return reading
    found: dict[str, tuple[Scalar, Node]] = {}
    with suppress(Enough):
        for number, line in enumerate(reading.lines, 1):
            if line.strip() and not line.lstrip().startswith("#"):
                _line(reading, number, line, found)
    reading.root = Mapping(tuple(found.values()), Place(1, 1))
    return reading


def _line(reading: Reading, number: int, line: str, found: dict[str, tuple[Scalar, Node]]) -> None:
    """Read one line into the variables found so far."""
    match = _LINE.fullmatch(line)
    if not match:
        place = Place(number, 1, len(line))
        reading.problem(place, "expected NAME=value", "put a # before a comment")
        return
    known = {key: value.text for key, (_, value) in found.items() if isinstance(value, Scalar)}
    name = Scalar(match[1], Place(number, match.start(1) + 1, len(match[1])))
    place = Place(number, match.start(2) + 1, max(1, len(match[2])))
    value = Scalar(_value(match[2], known), place, False)
    judged = [
        _judge(reading, scalar, parse)
        for scalar, parse in ((name, yamlvalues.env_name), (value, yamlvalues.env_value))
    ]
    if all(judged):
        found[name.text] = (name, value)


def _judge(reading: Reading, scalar: Scalar, parse: Callable[[str], str]) -> bool:
    try:
        parse(scalar.text)
    except ValueError as error:
        message, hint = (*error.args, "", "")[:2]
        reading.problem(scalar.place, message, hint)
        return False
    return True


def _value(text: str, known: dict[str, str]) -> str:
    """Return a value without its quotes; a variable of an earlier line is replaced by its value."""
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]

    def replaced(match: re.Match[str]) -> str:
        escape = match.groupdict().get("escape")
        if escape is not None:
            return ESCAPES.get(escape, escape)
        name = match[match.lastindex or 0]
        return known.get(name, match[0])

    if len(text) > 1 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(replaced, text[1:-1])
    return _VARIABLE.sub(replaced, re.sub(r"\s+#.*", "", text))
