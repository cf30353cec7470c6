"""The keys of .piot.yaml: one row each. A new key is a new row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from piot_firstboot import schedule, service_keys, yamlvalues
from piot_firstboot.blocks import REFUSED, Key, Kind, Reader
from piot_firstboot.yamltext import Node, Scalar, Sequence

DEFAULT_STEADY = 10.0  # seconds a service without a health block must stay up after a deploy
_HOUR, _DAY = 3600.0, 86400.0
MAX_UNITS = 1000


# -- readers of the table's third column ----------------------------------------------------------


def _is(parse: Callable[[str], Any]) -> Callable[[Reader, Node, str], Any]:
    """Make a reader of a scalar."""

    def read(reader: Reader, node: Node, key: str) -> Any:
        if isinstance(node, Scalar):
            return reader.scalar(node, parse, key)
        what = "a list" if isinstance(node, Sequence) else "keys"
        reader.reading.problem(node.place, f"{key} takes a value, not {what}")
        return REFUSED

    return read


def _all(parse: Callable[[str], Any]) -> Callable[[Reader, Node, str], Any]:
    """Make a reader of a list of scalars, doubles dropped."""

    def read(reader: Reader, node: Node, key: str) -> Any:
        found = [reader.scalar(item, parse, key) for item in reader.scalars(node, key) or ()]
        return tuple(dict.fromkeys(v for v in found if v is not REFUSED))

    return read


def _names(reader: Reader, node: Node, key: str) -> Any:
    return reader.scalars(node, key) or ()


def _at(reader: Reader, node: Node, key: str) -> Any:
    items = reader.scalars(node, key)
    if items == ():
        reader.reading.problem(node.place, f"{key}: a value is missing")
    found = [reader.scalar(item, schedule.calendar, key) for item in items or ()]
    return tuple(
        dict.fromkeys(event for events in found if events is not REFUSED for event in events)
    )


def _node(reader: Reader, node: Node, key: str) -> Any:
    return node


def _inner(where: str) -> Callable[[Reader, Node, str], Any]:
    def read(reader: Reader, node: Node, key: str) -> Any:
        return reader.block(where, node)

    return read


def _units(reader: Reader, node: Node, key: str) -> Any:
    rows = reader.pairs(node, key)
    if len(rows) > MAX_UNITS:
        reader.reading.problem(rows[MAX_UNITS][0].place, f"more than {MAX_UNITS} {key}")
    return rows[:MAX_UNITS]


def _env(reader: Reader, node: Node, key: str) -> Any:
    found = []
    for name, value in reader.pairs(node, key):
        known = reader.scalar(name, yamlvalues.env_name)
        if not isinstance(value, Scalar):
            hint = "put it in quotes if the program shall get this text"
            reader.reading.problem(value.place, f"{name.text} takes a text", hint)
        elif known is not REFUSED and reader.scalar(value, yamlvalues.env_value) is not REFUSED:
            found.append((name.text, value.text))
    return tuple(found)


def _systemd(reader: Reader, node: Node, key: str) -> Any:
    found: list[tuple[str, str]] = []
    for name, value in reader.pairs(node, key):
        judged = reader.scalar(name, service_keys.judge)
        for item in reader.scalars(value, name.text) or ((value,) if value is not node else ()):
            if isinstance(item, Scalar) and judged is not REFUSED:
                reader.scalar(item, partial(service_keys.judge_value, name.text))
                found.append((name.text, item.text))
    return tuple(found)


# -- the table ------------------------------------------------------------------------------------

_TOP, _SERVICE, _JOB = ("top",), ("services",), ("jobs",)
_UNIT = (*_SERVICE, *_JOB)
_SPAN = yamlvalues.span(1, 30 * _DAY)
_FLAG = _is(yamlvalues.flag)

KEYS: tuple[Key, ...] = (
    Key(_TOP, "piot", _is(yamlvalues.version), 1, "1", required=True),
    Key(_TOP, "name", _is(yamlvalues.app_name), "", "what the app calls itself"),
    Key(_TOP, "env", _env, (), "environment of every unit"),
    Key(_TOP, "secrets", _all(yamlvalues.secret_name), (), "secrets every unit gets as files"),
    Key(_TOP, "services", _units, (), "programs that run for ever"),
    Key(_TOP, "jobs", _units, (), "programs that end"),
    Key(_UNIT, "run", _node, None, "the command line, or a list of words", required=True),
    Key(_SERVICE, "notify", _is(yamlvalues.ready), False, "ready: the program says READY=1 itself"),
    Key(_SERVICE, "watchdog", _is(_SPAN), None, "restarted when it is silent for so long"),
    Key(_SERVICE, "restart", _is(yamlvalues.choice("always", "on-failure", "no")), "always",
        "always, on-failure or no"),
    Key(_SERVICE, "after", _names, (), "services that start before this one"),
    Key(_SERVICE, "health", _inner("health"), None, "how to tell that it works"),
    Key(_JOB, "every", _is(yamlvalues.span(1, 366 * _DAY)), None, "a time span such as 5min"),
    Key(_JOB, "at", _at, (), "a time such as 02:30, Mon 09:00, 30 2 * * *, or a list"),
    Key(_JOB, "once", _is(yamlvalues.choice("commit", "device", "boot")), "",
        "commit, device or boot"),
    Key(_JOB, "jitter", _is(yamlvalues.span(0, _DAY)), 0.0,
        "up to so much later, stable per device"),
    Key(_JOB, "catch_up", _FLAG, False, "run once for the times missed while off"),
    Key(_JOB, "timeout", _is(_SPAN), _HOUR, "killed after so long"),
    Key(_JOB, "retry", _inner("retry"), None, "try again after a failure"),
    Key(_UNIT, "env", _env, (), "environment; wins over the app's"),
    Key(_UNIT, "secrets", _all(yamlvalues.secret_name), (), "secrets this unit gets instead"),
    Key(_UNIT, "dir", _is(yamlvalues.directory), "", "working directory inside the release"),
    Key(_UNIT, "root", _FLAG, False, "run as root, without the sandbox"),
    Key(_UNIT, "systemd", _systemd, (), "raw [Service] keys"),
    Key(_UNIT, "shell", _FLAG, False, "run is a script for /bin/sh"),
    Key(("health",), "http", _is(yamlvalues.url), "", "an address that answers 2xx or 3xx"),
    Key(("health",), "tcp", _is(yamlvalues.endpoint), "", "a port, or host:port, that accepts"),
    Key(("health",), "command", _node, None, "a command that ends with status 0"),
    Key(("health",), "within", _is(yamlvalues.span(1, _HOUR)), 30.0, "ready after so long at most"),
    Key(("health",), "steady", _is(yamlvalues.span(0, _HOUR)), 60.0, "then no restart for so long"),
    Key(("retry",), "times", _is(yamlvalues.count(1, 100)), 1, "1 to 100", required=True),
    Key(("retry",), "wait", _is(yamlvalues.span(0, _DAY)), 60.0, "between two attempts"),
)  # fmt: skip

_KINDS: tuple[tuple[str, str, str], ...] = (
    ("top", "at the top", "needs build env_file update health fleet"),
    ("services", "in a service", "port memory cpu when watch needs env_file"),
    ("jobs", "in a job", "after ping memory cpu when watch needs env_file"),
    ("health", "in health", "journal"),
    ("retry", "in retry", ""),
)
# Each kind of block with its keys, and those that the full schema knows and this version does not.
KINDS: dict[str, Kind] = {
    where: Kind(title, {k.name: k for k in KEYS if where in k.where}, frozenset(later.split()))
    for where, title, later in _KINDS
}
