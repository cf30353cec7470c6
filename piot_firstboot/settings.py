"""Every section and key of piot.conf: the rows of all domains, joined.

The parser, the defaults, the redaction, and what people read (`manual`) come from these rows.
"""

from __future__ import annotations

from piot_firstboot.sections import (
    apps,
    clock,
    device,
    ethernet,
    fallback,
    job,
    people,
    secrets,
    update,
    watch,
    wifi,
)
from piot_firstboot.table import Section, Setting

DOMAINS = (
    device,
    people,
    wifi,
    ethernet,
    clock,
    apps,
    update,
    watch,
    job,
    secrets,
    fallback,
)
SECTIONS: tuple[Section, ...] = tuple(row for domain in DOMAINS for row in domain.SECTIONS)
SETTINGS: tuple[Setting, ...] = tuple(row for domain in DOMAINS for row in domain.SETTINGS)

_BY_SECTION = {
    section.name: {row.key: row for row in SETTINGS if row.section == section.name}
    for section in SECTIONS
}


def section(name: str) -> Section | None:
    """Find a section by its name."""
    return next((row for row in SECTIONS if row.name == name), None)


def keys(name: str) -> dict[str, Setting]:
    """Return the rows of a section by key."""
    return _BY_SECTION[name]
