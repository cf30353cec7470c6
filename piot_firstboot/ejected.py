"""A unit file of an app, made one that does without PioT."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from piot_firstboot import credential

_PIOT = re.compile(r"=[-@:+!|]*/usr/bin/piot\s")
_ORDER = ("After", "Before", "Wants", "Requires", "OnFailure", "OnSuccess", "BindsTo", "PartOf")
_LINE = re.compile(rf"(?m)^({'|'.join(_ORDER)})=(.*)$")
_LOADED = re.compile(
    rf"(?m)^(LoadCredential(?:Encrypted)?)=([^:\n]+):{re.escape(credential.FOLDER)}/(\S+)$"
)
_SAYS = "The next deploy replaces this file."


@dataclass(frozen=True, slots=True)
class Ejected:
    """A unit file without PioT: its text, the files it needs copied, and what it had to lose."""

    text: str
    copies: Mapping[str, str]
    lost: tuple[str, ...]


def eject(text: str, app: str, ours: Collection[str]) -> Ejected:
    """Rewrite a unit: `ours` are the units of PioT itself, templates as `name@`.

    Secrets are read from systemd's own store from then on, credentials(7) in systemd.exec(5).
    """
    copies: dict[str, str] = {}
    lost: list[str] = []

    def loaded(match: re.Match[str]) -> str:
        key, name, file = match.groups()
        store = "credstore.encrypted" if key.endswith("Encrypted") else "credstore"
        target = f"/etc/{store}/piot-{app}.{name}"
        copies[f"{credential.FOLDER}/{file}"] = target
        return f"{key}={name}:{target}"

    def ordered(match: re.Match[str]) -> str:
        words = [word for word in match[2].split() if not _is_ours(word, ours)]
        return f"{match[1]}={' '.join(words)}" if words else ""

    lines = []
    for line in text.splitlines():
        if line == f"# {_SAYS}":
            line = "# It is yours: `piot eject` took PioT out of it."
        elif _PIOT.search(line):
            lost.append(line)
            continue
        new = _LINE.sub(ordered, line)
        if new or not line:
            lines.append(_LOADED.sub(loaded, new))
    return Ejected("\n".join(lines) + "\n", copies, tuple(lost))


def _is_ours(unit: str, ours: Collection[str]) -> bool:
    """Tell whether a unit is one of PioT's own."""
    base, at, rest = unit.partition("@")
    return (f"{base}@.{rest.rpartition('.')[2]}" if at else unit) in ours
