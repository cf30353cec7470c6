"""PioT's own small JSON files. One that a worn card damaged counts as not there.

What such a file remembers can be found out again; a device that stumbles over it at each boot
would need a person with a screen.
"""

from __future__ import annotations

import json
from typing import Any


def values(data: bytes | None, schema: int | None = None) -> dict[str, Any]:
    """Return what a file holds; nothing where it is damaged, absent, or of another schema."""
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {}
    if not isinstance(found, dict) or (schema is not None and found.get("schema") != schema):
        return {}
    return found
