"""`env_file`: lines of NAME=value, read so strictly that every reader of such files agrees.

No line goes on in the next, `$NAME` is not replaced, and what one program takes for a comment and
another for part of the value is refused. `dotenv` is the other way to read such files, for those
that an app had before it had a manifest.
"""

from __future__ import annotations

import re

from piot_firstboot import yamlvalues
from piot_firstboot.errors import ConfigError, Problem

MAX_BYTES = 256 * 1024
_LINE = re.compile(r"(?:export[ \t]+)?([^=\s]+)([ \t]*)=[ \t]*(.*)", re.DOTALL)
# What a backslash makes of the next character in double quotes.
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "$": "$", "`": "`"}


def parse(data: bytes, source: str) -> tuple[tuple[str, str], ...]:
    """Return the variables in the order of the file; raises ConfigError with every problem.

    A value is the rest of its line without the blanks around it; in single quotes it is exactly
    what they enclose, in double quotes a backslash makes `\\n`, `\\t`, `\\"`, `\\\\` and `\\$`.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError([Problem(source, 0, 0, f"more than {MAX_BYTES // 1024} KiB")])
    try:
        text = data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        bad = data[: error.start].count(b"\n") + 1
        problem = Problem(source, bad, 1, "this line is not UTF-8", "save the file as UTF-8")
        raise ConfigError([problem]) from None
    found: dict[str, tuple[str, int]] = {}
    problems: list[Problem] = []
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.removesuffix("\r")
        bare = line.strip(" \t")
        if not bare or bare.startswith("#"):
            continue
        try:
            name, value = _pair(bare)
            if name in found:
                raise ValueError(f"{name} is given twice, first in line {found[name][1]}")
            found[name] = value, number
        except ValueError as error:
            message, hint = (*error.args, "", "")[:2]
            column = len(line) - len(line.lstrip(" \t")) + 1
            problems.append(Problem(source, number, column, message, hint))
    if problems:
        raise ConfigError(problems[:100])
    return tuple((name, value) for name, (value, _) in found.items())


def _pair(line: str) -> tuple[str, str]:
    """Read one line. Raises ValueError(message, hint); the value stays out of both."""
    match = _LINE.fullmatch(line)
    if not match:
        raise ValueError("this is not NAME=value", "begin a comment with #")
    name, gap, text = match.groups()
    yamlvalues.env_name(name)
    if gap:
        raise ValueError(f"a blank between {name} and =", f"write {name}=…")
    return name, yamlvalues.env_value(_value(name, text))


def _value(name: str, text: str) -> str:
    """Take a value out of its quotes."""
    quote = text[:1]
    if quote not in ("'", '"') or not quote:
        if re.search(r"(?:^|[ \t])#", text):
            hint = "put the value in quotes, or the comment on a line of its own"
            raise ValueError(f"{name}: whether # begins a comment here is not clear", hint)
        return text
    plain, at = "", 1
    while at < len(text) and text[at] != quote:
        if quote == '"' and text[at] == "\\":
            escape = text[at + 1 : at + 2]
            if escape not in ESCAPES or not escape:
                hint = "double the backslash, or use single quotes"
                raise ValueError(f"{name}: \\{escape} has no meaning in double quotes", hint)
            plain, at = plain + ESCAPES[escape], at + 2
        else:
            plain, at = plain + text[at], at + 1
    if at >= len(text):
        raise ValueError(f"{name}: the quote is never closed", "write a line break as \\n")
    if text[at + 1 :]:
        raise ValueError(f"{name}: something follows the closing quote")
    return plain
