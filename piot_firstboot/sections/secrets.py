"""`[secrets]`: what apps are given when they ask for it by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from piot_firstboot import values
from piot_firstboot.found import Found, of
from piot_firstboot.table import Section, Setting

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge


SECTIONS: tuple[Section, ...] = (
    Section(
        "secrets",
        "Passwords and tokens for apps that ask for them by name. The value is all that follows "
        "the first `=`; put it into quotes if it begins or ends with a blank.",
    ),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "secrets",
        "*",
        values.secret,
        "Any NAME of letters, digits and `_`.",
        "s3cr3t # all of this",
        sensitivity="secret",
        stored=True,
    ),
)


def judge(judge: Judge, found: list[Found]) -> None:
    """Find nothing: each value stands for itself."""


def read(found: list[Found]) -> tuple[tuple[str, str], ...]:
    """Return the secrets by name, in the order of the file."""
    return tuple(pair for part in of(found, "secrets") for pair in part.values.items())
