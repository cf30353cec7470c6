"""Locales: which one is in force, and how one is built from what the package locales brings."""

from __future__ import annotations

import re

from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System

_SUPPORTED = "/usr/share/i18n/SUPPORTED"
_BUILD = 900.0  # seconds; one takes a minute on the smallest Pi, and others may be due too


def known(system: System) -> frozenset[str]:
    """List the UTF-8 locales that can be built, each with its codeset; none without the package."""
    text = (system.read(_SUPPORTED) or b"").decode("ascii", "replace")
    rows = (line.split() for line in text.splitlines())
    names = {row[0] for row in rows if len(row) == 2 and row[1] == "UTF-8"}
    return frozenset({_with_codeset(name) for name in names} | {"C.UTF-8"} if names else ())


def current(system: System) -> str:
    """Return the locale of new sessions; "" when there is none, or it was never built."""
    for path in ("/etc/locale.conf", "/etc/default/locale"):
        text = (system.read(path) or b"").decode("utf-8", "replace")
        match = re.search(r"""(?m)^LANG=["']?([^"'\s]+)""", text)
        if match:
            return match[1] if _built(system, match[1]) else ""
    return ""


def build(system: System, name: str) -> None:
    """Build a locale unless it is there; /etc/locale.gen names it. Raises ApplyError."""
    if _built(system, name):
        return
    result = system.run(("locale-gen", "--keep-existing"), timeout=_BUILD)
    if not _built(system, name) and "archive" in result.err:
        # The one file that holds them all was damaged by a power cut, and takes no more. Without
        # the option it is removed first, and made anew with all that /etc/locale.gen names.
        result = system.run(("locale-gen",), timeout=_BUILD)
    if not _built(system, name):
        # It says what is wrong, and ends well all the same.
        hint = "sudo apt install locales, then: sudo piot apply"
        raise ApplyError(f"locale {name} cannot be built: {result.reason}", hint)


def _built(system: System, name: str) -> bool:
    """Tell whether programs can use a locale."""
    return _plain(name) in map(_plain, system.run(("locale", "-a")).out.split())


def _plain(name: str) -> str:
    """Spell a name as glibc compares them: de_DE.utf8."""
    base, dot, rest = name.partition(".")
    codeset, at, modifier = rest.partition("@")
    return f"{base}{dot}{codeset.lower().replace('-', '')}{at}{modifier}"


def _with_codeset(name: str) -> str:
    """Add the codeset to the name of a locale that has no other (sr_RS@latin)."""
    base, at, modifier = name.partition("@")
    return name if "." in base else f"{base}.UTF-8{at}{modifier}"
