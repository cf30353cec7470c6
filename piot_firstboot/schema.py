"""The table of .piot.yaml: every key, one row each, gathered from the domains."""

from __future__ import annotations

from piot_firstboot.blocks import Key, Kind
from piot_firstboot.manifestkeys import app, units

KEYS: tuple[Key, ...] = (*app.KEYS, *units.KEYS)

# Each kind of block with its keys.
KINDS: dict[str, Kind] = {
    where: Kind(title, {key.name: key for key in KEYS if where in key.where})
    for where, title in (*app.KINDS, *units.KINDS)
}
