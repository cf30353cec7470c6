"""Secrets that apps ask for by name."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import Credential
from piot_firstboot.plan import Part


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[secrets]`."""
    if not config.secrets:
        return ()
    items = tuple(Credential(name, value) for name, value in config.secrets)
    return (Part("secrets", items),)
