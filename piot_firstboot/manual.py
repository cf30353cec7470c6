"""What people read about piot.conf, made from the table: the example file and piot.conf(5)."""

from __future__ import annotations

import re

from piot_firstboot.settings import SECTIONS, keys
from piot_firstboot.table import Setting

_HEAD = """\
.TH PIOT.CONF 5 "" "PioT" "File formats"
.SH NAME
piot.conf \\- what a device shall be
.SH SYNOPSIS
.nf
/boot/firmware/piot.conf
/boot/piot.conf
/etc/piot/piot.conf
.fi
.SH DESCRIPTION
PioT reads the first of these files that is there: at each boot, and when
.B sudo piot apply
is run. Any letter case of the name will do, and so will
.IR piot.conf.txt .
.PP
One
.I key = value
a line, below the
.I [section]
it belongs to. The value is all that follows the first
.BR = ,
without the blanks around it and without one pair of plain quotes; nothing else in it has a meaning,
so
.B #
may stand in a password. A comment has a line of its own, which begins with
.B #
or
.BR ; .
UTF-8 and UTF-16 are read, with any line ends.
.PP
A file with a mistake in it changes nothing. All mistakes are shown at once, by
.B piot check piot.conf
on any computer, and in
.I piot-report.txt
beside the file, with the line and what to write instead. A file with which nobody could log in is
refused, and so is an empty one where a full one was applied: most likely the card was pulled out
while it was saved.
.PP
Each section is applied for itself, and only when it changed. When a section is removed, what PioT
made for it goes; accounts of people, their keys, installed packages, the host name and the time
zone stay.
.SH SECRETS
Keys marked
.I secret
are moved to a store on the device, sealed by
.BR systemd-creds (1),
once they are applied: the value in the file is overwritten in place and replaced by
.BR @stored .
To change it, write the new value there, or run
.BR "sudo piot secret set" .
.PP
A memory card may keep copies of what was ever written to it, which no program can reach and erase.
Where that matters, give
.B password_hash
instead of
.BR password ,
.B psk_hex
instead of a Wi-Fi password, and let keys be made on the device.
"""

# Sections that there are only with a NAME.
_TITLES = {"job": "job.backup"}

_TAIL = """\
.SH REPORT FOR PROGRAMS
.I /var/lib/piot/report.json
holds one object. A program should look at
.B schema
first, which is 2 and changes when the meaning of a key does.
.TP
.B schema, ok, headline, source
The version of this format; whether all of the file is in force; one line that sums up; which file.
.TP
.B problems
Mistakes, each with
.BR source ", " line ", " column ", " message " and " hint .
.TP
.B lines
For each line of the file
.BR line ", " section ", " key ", " state ", " why " and " next .
A state is
.BR applied ", " unchanged ", " refused " (tried, and taken back), " failed " (tried again at the"
next boot),
.BR waiting " (for the network, or time) or " noted " (nothing acts on it in this version)."
.TP
.B changes, notes, next
What was done, in words; facts that belong to no line; what a person should do next.
.SH FILES
.TP
.I piot-report.txt
Beside piot.conf: what became of each line, and what to do next.
.TP
.I /var/lib/piot/report.json
The same for programs.
.TP
.I /usr/share/doc/piot/examples/piot.conf
Every key, explained.
.SH SEE ALSO
.BR piot (1),
.BR systemd-creds (1),
.BR systemd.time (7)
"""


def example() -> str:
    """Return examples/piot.conf: every key explained, everything commented out."""
    lines = [
        "# piot.conf tells PioT what this device shall be. It lies on the boot partition, and is",
        "# read at each boot and by `sudo piot apply`. Remove the `#` in front of what you need.",
        "#",
        "# One `key = value` a line. The value is all that follows, a `#` included; a comment",
        "# has a line of its own. `piot check piot.conf` finds mistakes before you boot.",
    ]
    for part in SECTIONS:
        title = _TITLES.get(part.name, part.name)
        lines += ["", "", *_prose(part.help), f"#[{title}]"]
        for row in keys(part.name).values():
            lines += ["", *_prose(_help(row)), f"#{_name(row)} = {row.example}"]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return piot.conf(5) in the language of man(7)."""
    blocks = [_HEAD]
    for part in SECTIONS:
        several = f", [{part.name}.NAME]" if part.parse_name else ""
        blocks.append(f".SH SECTION [{part.name}]{several}\n{_roff(part.help)}\n")
        for row in keys(part.name).values():
            marks = [word for word, is_so in _marks(row) if is_so]
            mark = f" ({', '.join(marks)})" if marks else ""
            text = f"{_roff(_help(row))}\n.br\nExample:\n.I {_roff(row.example)}\n"
            blocks.append(f".TP\n.BR {_roff(_name(row))} = \\&{_roff(mark)}\n{text}")
    return "".join([*blocks, _TAIL])


def _marks(row: Setting) -> tuple[tuple[str, bool], ...]:
    """Say in a word what is special about a key."""
    return (
        ("required", row.required),
        ("may be repeated", row.many),
        ("secret", row.stored),
    )


def _help(row: Setting) -> str:
    """Return the help of a key, and that it has no effect yet."""
    return f"{row.help} (Not acted on by this version.)" if row.idle else row.help


def _name(row: Setting) -> str:
    """Name a key; a free one by an example."""
    return "API_TOKEN" if row.key == "*" else row.key


def _prose(text: str) -> list[str]:
    """Wrap a text into comment lines."""
    return [f"# {line.rstrip()}" for line in re.findall(r"\S.{0,86}(?:\s|$)", text)]


def _roff(text: str) -> str:
    """Protect a text from being read as roff."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
