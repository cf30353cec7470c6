"""What people and editors read about .piot.yaml, made from the table: piot.yaml(5), JSON Schema."""

from __future__ import annotations

import json
from typing import Any

from piot_firstboot.blocks import Key
from piot_firstboot.schedule import format_span
from piot_firstboot.schema import KINDS

_HEAD = """\
.TH PIOT.YAML 5 "" "PioT" "File formats"
.SH NAME
piot.yaml \\- what an app runs
.SH SYNOPSIS
.I .piot.yaml
at the top of a git repository
.SH DESCRIPTION
An app consists of
.IR services ,
which run for ever, and
.IR jobs ,
which end. From this file PioT makes plain systemd units for Debian 12 and 13.
.B piot check
finds its mistakes on any computer, all at once and before the push;
.B piot render
shows the units.
.PP
.nf
piot: 1
services:
  web:
    run: python \\-m web
    health: {tcp: 8080}
jobs:
  snap: {run: ./snap.sh, every: 5min}
.fi
.PP
The file is YAML of at most 256 KiB. Values are read as the text that they are and get their type
from their key, so that neither
.I 12:30
nor
.I no
becomes something else. Unknown keys and keys that are given twice are mistakes. Time spans are
spelled as in
.BR systemd.time (7).
Names of services and jobs have lower\\-case letters, digits,
.B \\-
and
.BR _ ,
at most 40, and are unique among both.
.SH COMMANDS
A command line is split into words as a POSIX shell would, but no shell runs it: pipes, redirections
and patterns are refused unless
.B shell
says true.
.I $NAME
and
.I ${NAME}
are replaced from the environment of the unit, and
.I $$
is a dollar. The words of a list reach the program byte for byte. A program is looked up when the
release is staged:
.I ./x
in the release, others in its Python environment and
.IR node_modules/.bin ,
then in the system.
.SH ENVIRONMENT
Each process finds
.IR PIOT_APP ", " PIOT_COMMIT ", " PIOT_RELEASE ", " PIOT_ROLE ", " PIOT_HOSTNAME ,
.I PIOT_UNIT
and, if the app has a
.BR port ,
.I PIOT_PEER_SERVICE
with the addresses of that service on other devices, as HOST:PORT with commas between, as they were
known when it started. They are looked for every quarter of an hour; the file that
.I PIOT_PEERS
names has, a line each, what a start would find now. What a process may write to is in
.IR STATE_DIRECTORY ", " CACHE_DIRECTORY " and " RUNTIME_DIRECTORY ,
and
.I CREDENTIALS_DIRECTORY
has a file for each of its secrets.
"""

# Kind of block → the header of its part of the page.
_PARTS: tuple[tuple[str, str], ...] = (
    ("top", "KEYS AT THE TOP"),
    ("services", "KEYS OF A SERVICE"),
    ("jobs", "KEYS OF A JOB"),
    ("health", "KEYS OF A SERVICE'S HEALTH"),
    ("journal", "KEYS OF HEALTH: JOURNAL OF A SERVICE"),
    ("retry", "KEYS OF RETRY"),
    ("when", "KEYS OF WHEN"),
    ("unit_needs", "KEYS OF NEEDS OF A SERVICE OR JOB"),
    ("needs", "KEYS OF NEEDS AT THE TOP"),
    ("update", "KEYS OF UPDATE"),
    ("app_health", "KEYS OF HEALTH AT THE TOP"),
    ("app_journal", "KEYS OF HEALTH: JOURNAL AT THE TOP"),
    ("fleet", "KEYS OF FLEET"),
    ("role", "KEYS OF A ROLE"),
    ("ring", "KEYS OF A RING"),
)

_TAIL = """\
.SH ENV FILES
A file that
.B env_file
names has lines of
.IR NAME=value .
The value is all that follows, without the blanks around it: in single quotes exactly what they
enclose; in double quotes
.IR \\en ", " \\et ", " \\e\\(dq ", " \\e\\e " and " \\e$
stand for a new line, a tab and the character itself. No line goes on in the next, no
.I $NAME
is replaced, and a comment has a line of its own.
.SH FILES
.TP
.I /usr/share/piot/piot.schema.json
The JSON Schema of this format, for editors.
.SH SEE ALSO
.BR piot (1),
.BR piot.conf (5),
.BR systemd.service (5),
.BR systemd.time (7)
"""

_UNIT_NAME = "^[a-z0-9][a-z0-9_-]{0,39}$"


def page() -> str:
    """Return piot.yaml(5) in the language of man(7)."""
    blocks = [_HEAD]
    for where, title in _PARTS:
        blocks.append(f".SH {_roff(title)}\n")
        for row in KINDS[where].rows.values():
            mark = ", ".join([row.type.words, *(["required"] if row.required else [])])
            blocks.append(f'.TP\n.BR {_roff(row.name)} " \\&({_roff(mark)})"\n{_text(row)}')
    return "".join([*blocks, _TAIL])


def json_schema() -> str:
    """Return the JSON Schema, draft 7, which the language servers of editors know."""
    definitions = {where: _definition(where) for where in KINDS}
    whole = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": ".piot.yaml",
        "description": "What an app runs: services for ever, jobs to their end. See piot.yaml(5).",
        **definitions.pop("top"),
        "anyOf": [{"required": ["services"]}, {"required": ["jobs"]}],
        "$defs": definitions,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _definition(where: str) -> dict[str, Any]:
    """Describe one kind of block."""
    rows = KINDS[where].rows.values()
    found: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": {row.name: _property(row) for row in rows},
    }
    required = [row.name for row in rows if row.required]
    if required:
        found["required"] = required
    if where == "jobs":
        found["oneOf"] = [{"required": [key]} for key in ("every", "at", "once")]
    return found


def _property(row: Key) -> dict[str, Any]:
    """Describe one key."""
    schema = dict(row.type.schema)
    said = {"description": f"{row.help}. Example: {row.example}"}
    if "$ref" in schema:  # draft 7 ignores what stands beside a reference
        return {"allOf": [schema], **said}
    if row.name in ("services", "jobs"):
        schema["propertyNames"] = {"pattern": _UNIT_NAME}
    return {**schema, **said}


def _text(row: Key) -> str:
    """Say what a key means, its default and an example."""
    default = _default(row)
    given = f" If not given: {default}." if default else ""
    example = _roff(f"{row.name}: {row.example}")
    return f"{_roff(f'{row.help}.{given}')}\n.br\nExample:\n.I {example}\n"


def _default(row: Key) -> str:
    """Say a default where it says something."""
    match row.default:
        case bool() | None | "" | ():
            return ""
        case float():
            return format_span(row.default)
        case _ if row.required:
            return ""
        case _:
            return str(row.default)


def _roff(text: str) -> str:
    """Protect a text from being read as roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return f"\\&{text}" if text.startswith((".", "'")) else text
