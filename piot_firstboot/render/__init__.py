"""Rendering: one module per domain, values in, parts of a plan out."""

from __future__ import annotations

from dataclasses import replace

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.plan import Part
from piot_firstboot.render import (
    apps,
    clock,
    device,
    fallback,
    jobs,
    network,
    secrets,
    ssh,
    update,
    users,
)

# In the order in which they are applied: a way in first, what needs it last.
_DOMAINS = (device, clock, users, ssh, network, secrets, update, apps, jobs, fallback)


def render_config(config: Config, facts: Facts) -> tuple[Part, ...]:
    """Render all that piot.conf asks for; what one section asks for is one part."""
    parts: dict[str, Part] = {}
    for domain in _DOMAINS:
        for part in domain.render(config, facts):
            former = parts.get(part.scope)
            if former:
                items = (*former.items, *part.items)
                obstacle = part.obstacle or former.obstacle
                caution = part.caution or former.caution
                part = replace(part, items=items, obstacle=obstacle, caution=caution)
            parts[part.scope] = part
    return tuple(parts.values())
