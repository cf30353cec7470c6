"""The bytes of a foreign file → its text, in whatever encoding an editor left it."""

from __future__ import annotations

import re

from piot_firstboot import conftext
from piot_firstboot.foreign.carried import Draft

_BREAK = re.compile(r"\r\n|\r|\n")
_LOST = re.compile("[\udc80-\udcff]")


def read(draft: Draft, data: bytes, *, any_bytes: bool = False) -> str | None:
    """Return the text with plain line ends, or None with the reason noted.

    With `any_bytes` those that are no UTF-8 stay in it, as surrogates.
    """
    if len(data) > conftext.MAX_SIZE:
        message = f"this file has {len(data)} bytes; {conftext.MAX_SIZE} are allowed"
        draft.problem(0, 0, message, "is it the right file?")
        return None
    try:
        text = conftext.decode(data)
    except conftext.NotText as error:
        draft.problem(0, 0, str(error), error.hint)
        return None
    text = _BREAK.sub("\n", text)
    draft.lines = text.split("\n")
    if any_bytes:
        return text
    for number, line in enumerate(draft.lines, 1):
        lost = _LOST.search(line)
        if lost:
            draft.problem(number, lost.start() + 1, "this is not UTF-8", "save the file as UTF-8")
            return None
    return text
