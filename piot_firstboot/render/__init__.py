"""Rendering: one module per domain, values in, items of a plan out."""

from __future__ import annotations

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.plan import Item
from piot_firstboot.render import apps, clock, hostname, ssh, users


def render_config(config: Config, facts: Facts) -> tuple[Item, ...]:
    """Render all that piot.conf asks for, domain by domain, in a fixed order."""
    domains = (hostname, clock, users, ssh, apps)
    return tuple(item for domain in domains for item in domain.render(config, facts))
