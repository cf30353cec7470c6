"""piot secret: put secrets into the store by hand, show what is there, take them out."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass
from getpass import getpass

from piot_firstboot import conftext, credential, idle, intake, privatekey, settings, vault, wake
from piot_firstboot.errors import ApplyError
from piot_firstboot.found import is_stored
from piot_firstboot.system import System
from piot_firstboot.table import Setting
from piot_firstboot.values import MAX_SECRET, secret_name

_UNITS = "/etc/systemd/system"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Row:
    """A secret: how it lies there, the line of piot.conf that names it or 0, who is given it."""

    name: str
    sealed: bool
    opens: bool
    line: int
    units: tuple[str, ...]


def ask(name: str, *, raw: bool = False) -> str:
    """Return the value from standard input; at a terminal, asked for twice and not shown.

    Unless `raw`, the one newline that `echo` and files end with is no part of it.
    """
    if sys.stdin.isatty():
        value = getpass(f"{name}: ")
        if getpass("the same again: ") != value:
            raise ApplyError("these are not the same", f"sudo piot secret set {name}")
        return value
    data = sys.stdin.buffer.read(MAX_SECRET + 3)
    if not raw:
        end = b"\r\n" if data.endswith(b"\r\n") else b"\n"
        data = data.removesuffix(end)
    return data.decode("utf-8", "surrogateescape")


def put(system: System, name: str, value: str) -> str:
    """Store a secret, and say what it needs to take effect. Raises ApplyError."""
    row = judge(name)
    value = _judged(name, value, row)
    with intake.locked(system):
        line, written = _places(system).get(name, (0, "@stored"))
        if not is_stored(written):
            hint = "write @stored there instead, or the new value, then run: sudo piot apply"
            raise ApplyError(
                f"line {line} of piot.conf has a value for {name}, and goes first", hint
            )
        new = vault.put(system, name, value)
        if new and row is None:
            wake.apps(system, (credential.path(name, sealed=False),))
        elif new:
            system.remove(idle.BOOT_STAMP)  # to the next boot it is as if piot.conf had changed
    said = f"{name} is stored{', sealed' * vault.sealed(system, name)}"
    if not new:
        return f"{name} is stored like this already"
    if row is None:
        return said
    header, _, key = name.rpartition(".")
    where = "" if line else f"write {key} = @stored below [{header}] in piot.conf, and "
    return f"{said}; to use it, {where}run: sudo piot apply"


def remove(system: System, name: str) -> str:
    """Take a secret out of the store and say who will miss it. Raises ApplyError."""
    with intake.locked(system):
        line, _ = _places(system).get(name, (0, ""))
        if line:
            hint = "remove the line, then run: sudo piot apply"
            raise ApplyError(f"line {line} of piot.conf names {name}", hint)
        units = _units(system, name)
        if not vault.drop(system, name):
            known = ", ".join(vault.names(system)) or "none"
            raise ApplyError(f"there is no secret {name} on this device; there is: {known}")
        if "." not in name:
            wake.apps(system, (credential.path(name, sealed=False),))
    return f"{name} is removed" + (f"; it is missed by {', '.join(units)}" if units else "")


def collect(system: System) -> tuple[Row, ...]:
    """Look at all secrets, never telling a value."""
    places = _places(system)
    stored = vault.resolve(system)
    return tuple(
        Row(
            name,
            vault.sealed(system, name),
            stored.get(name) is not None,
            places.get(name, (0, ""))[0],
            _units(system, name),
        )
        for name in vault.names(system)
    )


def as_text(rows: tuple[Row, ...]) -> str:
    """Set the rows out for a person."""
    if not rows:
        return "there is no secret on this device"
    width = max(len(row.name) for row in rows)
    return "\n".join(
        "  ".join(
            (
                row.name.ljust(width),
                ("sealed" if row.opens else "sealed elsewhere") if row.sealed else "plain",
                f"piot.conf line {row.line}" if row.line else "by hand",
                " ".join(row.units),
            )
        ).rstrip()
        for row in rows
    )


def as_json(rows: tuple[Row, ...]) -> str:
    """Render the rows for programs; `line` 0: piot.conf does not name it."""
    return json.dumps({"secrets": [asdict(row) for row in rows]}, indent=1)


def judge(name: str) -> Setting | None:
    """Return the row of a setting's name, None for an app's secret. Raises ApplyError."""
    if "." not in name:
        try:
            secret_name(name)
        except ValueError as error:
            raise _refused(error) from None
        return None
    header, _, key = name.rpartition(".")
    base, dot, part = header.partition(".")
    section = settings.section(base)
    row = settings.keys(base).get(key) if section else None
    if section is None or row is None or not row.stored:
        names = [f"{row.section}.{row.key}" for row in settings.SETTINGS if row.stored]
        known = " ".join(name for name in names if not name.endswith("*"))
        raise ApplyError(f"piot.conf has no secret {name}", f"there are NAME of an app's {known}")
    try:
        if dot and section.parse_name is None:
            raise ValueError(f"[{base}] takes no name")
        if dot and section.parse_name:
            section.parse_name(part)
    except ValueError as error:
        raise _refused(error) from None
    return row


def _judged(name: str, value: str, row: Setting | None) -> str:
    """Return what is stored of a value, and refuse what piot.conf would not take either."""
    size = len(value.encode("utf-8", "surrogateescape"))
    if not size:
        raise ApplyError(f"{name} has no value", f"echo VALUE | sudo piot secret set {name}")
    if size > MAX_SECRET:
        raise ApplyError(f"a secret has at most {MAX_SECRET // 1024} KiB")
    # An app's secret and what else would be a file may be any bytes, such as a key of many lines.
    if row is None or (row.file and privatekey.is_text(value)):
        return _key(name, value) if row and row.key == "deploy_key" else value
    if _CONTROL.search(value):
        raise ApplyError(f"{name} takes one line without control characters")
    try:
        parsed = row.parse(value)
    except ValueError as error:
        raise _refused(error) from None
    if row.file and not privatekey.is_text(parsed):
        raise ApplyError(f"{name} is the key itself", f"sudo piot secret set {name} <FILE")
    return parsed if row.file else value


def _key(name: str, value: str) -> str:
    """Return a private key as its users read it."""
    try:
        return privatekey.from_file(vault.as_bytes(value))
    except privatekey.BadKey as error:
        raise ApplyError(f"{name} {error}", error.hint) from None


def _refused(error: ValueError) -> ApplyError:
    """Say why a name or value is refused; no message repeats a secret."""
    return ApplyError(str(error), getattr(error, "hint", ""))


def _places(system: System) -> dict[str, tuple[int, str]]:
    """Return line and value of each secret that piot.conf names, be the file right or wrong."""
    path = intake.find(system)
    try:
        _, blocks = conftext.read((system.read(path) or b"") if path else b"")
    except conftext.NotText:
        return {}
    found = {}
    for block in blocks:
        base = block.name.partition(".")[0]
        rows = settings.keys(base) if settings.section(base) else {}
        for entry in block.entries:
            row = rows.get(entry.key) or rows.get("*")
            if row and row.stored:
                name = entry.key if row.key == "*" else f"{block.name}.{entry.key}"
                found[name] = (entry.line, entry.value)
    return found


def _units(system: System, name: str) -> tuple[str, ...]:
    """List the units of apps that are given a secret."""
    given = re.compile(rf"^LoadCredential(Encrypted)?={re.escape(name)}:".encode(), re.MULTILINE)
    mine = [unit for unit in system.names(_UNITS) if re.fullmatch(r"piot-.+\.service", unit)]
    return tuple(u for u in mine if given.search(system.read(f"{_UNITS}/{u}") or b""))
