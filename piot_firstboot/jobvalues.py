"""What the values of `[job.NAME]` may be: those of a job in .piot.yaml, in one line each."""

from __future__ import annotations

import re
from collections.abc import Callable

from piot_firstboot import schedule, yamlvalues
from piot_firstboot.command import Command, CommandError, split
from piot_firstboot.values import BadValue

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_RELATIVE = (
    "the path of a program begins with a /",
    "write all of it, as /usr/local/bin/backup",
)
_SCRIPT = "put it into a script, or write sh -c '…'"


def name(text: str) -> str:
    """Read the name of a job; its units carry it."""
    try:
        return yamlvalues.unit_name(text)
    except ValueError as error:
        raise BadValue(*error.args) from None


def span(least: float, most: float) -> Callable[[str], float]:
    """Make a reader of a time span within these bounds, in seconds."""
    judge = yamlvalues.span(least, most)

    def parse(text: str) -> float:
        """Read a time span."""
        try:
            return judge(text)
        except ValueError as error:
            raise BadValue(
                str(error.args[0]), "write a time span such as 5min or 1h 30min"
            ) from None

    return parse


def at(text: str) -> tuple[str, ...]:
    """Read a time as systemd or cron spell it; returns expressions for OnCalendar=."""
    try:
        return schedule.calendar(text)
    except ValueError as error:
        message = str(error).replace("every: ", "every = ")
        raise BadValue(message, "write it like 02:30, Mon 09:00 or 30 2 * * *") from None


def once(text: str) -> str:
    """Read how often a job runs once: in the life of the device, or at each boot."""
    if text in ("device", "boot"):
        return text
    if text == "commit":
        raise BadValue("a job of the device belongs to no commit", "write device or boot")
    raise BadValue("this is not device or boot", "write once = boot")


def run(text: str) -> Command:
    """Read a command line; the program is named by its path, or found in the system's own."""
    try:
        command = split(text)
    except CommandError as error:
        hint = error.hint
        if "shell: true" in hint:
            hint = _SCRIPT
        if text.startswith("~"):
            raise BadValue(*_RELATIVE) from None
        if "env:" in hint:
            hint = "begin the command with env, as in env NAME=value program"
        raise BadValue(str(error), hint) from None
    program = command.program
    if "/" in program and not program.startswith("/"):
        raise BadValue(*_RELATIVE)
    return command


def user(text: str) -> str:
    """Read the account that a job runs as; it must exist."""
    if not _USER.fullmatch(text):
        raise BadValue("this is not the name of an account", "write root, or a user of the device")
    return text
