"""What each generated file says of itself."""

from __future__ import annotations

# The first line of what is made from piot.conf, where `#` begins a comment.
COMMENT = "# Made by PioT from piot.conf; edit that file, then run: sudo piot apply"
