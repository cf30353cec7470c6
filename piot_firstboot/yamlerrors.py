"""What PyYAML says of a syntax error, said so that a person can act on it."""

from __future__ import annotations

import re
from typing import Any

# The beginning of what the parser says → what a person is told, and how to mend it.
_EXPLAINED = (
    ("mapping values are not allowed", "a `:` too many, or a wrong indentation",
     'quote a value that contains ": "'),
    ("did not find expected '-' indicator", "a list item was expected here",
     "start it with `- `, or mend the indentation"),
    ("did not find expected key", "a key was expected here",
     "keys of one block are indented alike; what follows a closing quote belongs inside it"),
    ("expected <block end>", "a key or a list item was expected here",
     "keys of one block are indented alike; what follows a closing quote belongs inside it"),
    ("did not find expected ',' or ']'", "the list that opens in line {line} is not closed", ""),
    ("expected ',' or ']'", "the list that opens in line {line} is not closed", ""),
    ("did not find expected ',' or '}'", "the mapping that opens in line {line} is not closed", ""),
    ("expected ',' or '}'", "the mapping that opens in line {line} is not closed", ""),
    ("could not find expected ':'", "a `:` is missing after this key", ""),
    ("found unknown escape character", "an unknown escape in double quotes",
     "write \\\\ for a backslash, or use single quotes"),
    ("block sequence entries are not allowed", "a list item may not start here",
     "start it on its own line"),
    ("sequence entries are not allowed", "a list item may not start here",
     "start it on its own line"),
)  # fmt: skip


def explain(error: Any, lines: list[str]) -> tuple[int, int, str, str]:
    """Turn a yaml.MarkedYAMLError into line, column, message and hint that a person can act on."""
    mark = error.problem_mark or error.context_mark
    said = error.problem or error.context or "this is not YAML"
    line = mark.line if mark else 0
    for number in (line, line - 1):
        if 0 <= number < len(lines):
            tab = re.match(r"[ \t]*", lines[number])
            if tab and "\t" in tab[0]:
                column = tab[0].index("\t") + 1
                return number + 1, column, "a tab in the indentation", "indent YAML with blanks"
    place = (line + 1, mark.column + 1 if mark else 1)
    if "cannot start any token" in said:
        char = lines[line][mark.column : mark.column + 1] if mark else ""
        if char == "\t":
            return *place, "a tab where YAML wants a blank", "replace it by a blank"
        return *place, f"a value cannot start with {char}", "put it in quotes"
    if said.startswith("found unexpected ") and error.context_mark:  # end of file or document
        opened = error.context_mark
        return opened.line + 1, opened.column + 1, "this quote is never closed", ""
    context = error.context_mark.line + 1 if error.context_mark else line + 1
    for start, message, hint in _EXPLAINED:
        if said.startswith(start):
            return *place, message.format(line=context), hint
    return *place, f"not YAML: {said}", ""
