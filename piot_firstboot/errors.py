"""What can go wrong, said so that a person can act on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong at one place of a text file.

    `line` and `column` count from 1; line 0 means the file as a whole. `text` is the source line
    as the author wrote it (a secret already masked), `width` the number of characters to mark.
    """

    source: str
    line: int
    column: int
    message: str
    hint: str = ""
    text: str = ""
    width: int = 1

    def values(self) -> dict[str, str | int]:
        """Return what programs need to know of it."""
        return {
            "source": self.source,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        """Render as `file:line:column: message`, the line, a caret and the hint."""
        head, lines = f"{self.source}: {self.message}", list[str]()
        if self.line:
            head = f"{self.source}:{self.line}:{self.column}: {self.message}"
            if self.text:
                # Tabs stay tabs, so that the caret stands below its word at any tab width.
                shown = "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in self.text)
                before = shown[: self.column - 1]
                pad = "".join("\t" if c == "\t" else " " for c in before)
                lines = [f"    {shown}", f"    {pad}{'^' * max(1, self.width)}"]
        if self.hint:
            lines.append(f"    hint: {self.hint}")
        return "\n".join([head, *lines])


class ConfigError(Exception):
    """A text file that cannot be accepted; carries every problem found in it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """Keep the problems in the order of the file."""
        self.problems = tuple(sorted(problems, key=lambda p: (p.line, p.column)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class ApplyError(Exception):
    """The system refused a change; `hint` says what to do next.

    `later` tells that the same may well succeed at another time.
    """

    later = False

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep the hint apart, so that reports can set it on its own line."""
        self.hint = hint
        super().__init__(message)


class Unfit(ApplyError):
    """The commit itself is wrong; trying it again cannot help."""


class Lacking(ApplyError):
    """The device lacks something that the commit needs; it may come."""

    later = True


class Unreachable(ApplyError):
    """The remote gave no usable answer; what to do about it is in the hint."""

    later = True


class Refused(Unreachable):
    """The remote answers, and does not let the device in: no network to wait for."""


class Missing(ApplyError):
    """The remote answers, but has no such ref."""
