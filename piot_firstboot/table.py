"""What a row of the settings table says: one key of piot.conf, one section of it.

Each module of `sections` holds the rows of its domain; `settings` joins them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

# plain may be shown anywhere; personal is shown to the owner of the device (reports, not
# metrics); secret is shown nowhere.
Sensitivity = Literal["plain", "personal", "secret"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a section.

    `parse` raises ValueError (`values.BadValue` with a hint). `key` is `*` where any NAME may
    stand. `many` keys may be repeated and give a tuple. `field` is the attribute of the section's
    dataclass, the key itself if empty. `among` names a set of words, known only on the device,
    that the value must be in. A `stored` value moves to the store once it is applied, and
    `@stored` takes its place in the file. A `file` is named, and lies on the boot partition; a
    value of several lines is its content itself. An `idle` key is judged and kept, but nothing
    acts on it in this version; reports say so.
    """

    section: str
    key: str
    parse: Callable[[str], Any]
    help: str
    example: str
    default: Any = None
    sensitivity: Sensitivity = "plain"
    many: bool = False
    required: bool = False
    field: str = ""
    among: str = ""
    stored: bool = False
    file: bool = False
    idle: bool = False

    @property
    def attribute(self) -> str:
        """Name the attribute of the section's dataclass."""
        return self.field or self.key


@dataclass(frozen=True, slots=True)
class Section:
    """A section: whether there may be several as `[name.NAME]`, and what it is for.

    In `[name.NAME]` the NAME stands for the key `name`, which `[name]` may or must have.
    """

    name: str
    help: str
    parse_name: Callable[[str], str] | None = None
