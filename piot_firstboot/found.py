"""What was found in a piot.conf: its sections with their good values, and where each stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from piot_firstboot.conftext import FILL, Block, Entry
from piot_firstboot.table import Section, Setting

STORED = "@stored"  # stands where a secret was, once it is in the store


def is_stored(value: str) -> bool:
    """Tell whether a value stands for the one in the store.

    One that was being overwritten when the power failed does too: nobody types FILL.
    """
    return value == STORED or FILL in value


@dataclass(slots=True)
class Found:
    """One section of the file: its good values by attribute, and where each key stands.

    `from_store` names the keys whose value was `@stored`. `clean` is False once anything in it was
    refused.
    """

    section: Section
    name: str
    block: Block
    rows: Mapping[str, Setting]
    values: dict[str, Any] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    from_store: set[str] = field(default_factory=set)
    clean: bool = True

    def arguments(self) -> dict[str, Any]:
        """Return a value for each attribute of the section's dataclass."""
        return _complete(self.rows.values(), self.values)


def of(found: Iterable[Found], name: str) -> list[Found]:
    """Return the sections `[name]` and `[name.NAME]`, in the order of the file."""
    return [part for part in found if part.section.name == name]


def only(found: Iterable[Found], name: str, rows: Iterable[Setting]) -> dict[str, Any]:
    """Return the values of a section that stands only once, the defaults where it is absent."""
    mine = [row for row in rows if row.section == name]
    return next((part.arguments() for part in of(found, name)), _complete(mine, {}))


def _complete(rows: Iterable[Setting], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for each attribute: the given one or the default."""
    return {row.attribute: given.get(row.attribute, row.default) for row in rows}
