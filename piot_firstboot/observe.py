"""Look at the system: what there is now of everything that a plan or an ownership record names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from piot_firstboot import live, vault
from piot_firstboot.errors import ApplyError
from piot_firstboot.items import (
    Credential,
    Directory,
    File,
    Item,
    Lines,
    Login,
    Package,
    State,
    Symlink,
    SystemUser,
    Unit,
    Word,
    key,
)
from piot_firstboot.system import System


def observe(system: System, items: Iterable[Item], before: Iterable[str]) -> dict[str, Item]:
    """Look at everything that the items and the ownership record name."""
    items = tuple(items)
    found: dict[str, Item] = {}
    for item in items:
        if not isinstance(item, Unit) and (now := _look(system, key(item))) is not None:
            found[key(item)] = now
    for entry in before:
        kind, _, rest = entry.partition(" ")
        name = f"lines {rest.partition(' ')[0]}" if kind == "line" else entry
        known = (
            kind in ("file", "directory", "symlink", "line", "user", "secret") and name not in found
        )
        if known and (now := _look(system, name)) is not None:
            found[name] = now
    for unit in _look_units(system, [item for item in items if isinstance(item, Unit)]):
        found[key(unit)] = unit
    return found


def _look(system: System, entry: str) -> Item | None:
    """Return what is there now as an item of the same kind, or None."""
    kind, _, name = entry.partition(" ")
    match kind:
        case "user":
            row = system.accounts("passwd").get(name)
            return SystemUser(name, row[5]) if row else None
        case "login":
            return _look_login(system, name)
        case "state":
            return State(name, live.read(system, name))
        case "word":
            return _look_word(system, *name.split(" "))
        case "secret":
            try:
                value = vault.get(system, name)
            except vault.Unopenable:
                value = ""  # sealed with another key: to be replaced
            return None if value is None else Credential(name, value)
        case "package":
            return _look_package(system, name)
    there = system.entry(name)
    if there is None:
        return None
    access = (there.mode, there.owner, there.group)
    match kind, there.kind:
        case "directory", "directory":
            return Directory(name, *access)
        case "lines", "file":
            data = (system.read(name) or b"").decode("utf-8", "surrogateescape")
            # Only newlines part lines here; str.splitlines() knows more, in other people's text.
            lines = data.removesuffix("\n").split("\n") if data else []
            return Lines(name, tuple(lines), "", *access)
        case _, "symlink":
            return Symlink(name, there.target)
        case _, "file":
            return File(name, system.read(name) or b"", *access)
    raise ApplyError(f"{name} is a {there.kind}", "move it away, then run: sudo piot apply")


def _look_word(system: System, path: str, name: str) -> Word | None:
    """Read one word of a one-line file; a file that is not there is left so."""
    data = system.read(path)
    values = [
        w.partition("=")[2]
        for w in (data or b"").decode("utf-8", "replace").split()
        if w.partition("=")[0] == name
    ]
    if len(values) > 1:
        return Word(path, name, " ".join(values))
    return Word(path, name, values[0]) if values else None


def _look_package(system: System, name: str) -> Package | None:
    """Ask dpkg whether a package is installed, and whole."""
    result = system.run(("dpkg-query", "--show", "--showformat=${db:Status-Status}", name))
    return Package(name) if result.out == "installed" else None


def _look_login(system: System, name: str) -> Login | None:
    """Read an account's hash, groups and shell from the user database."""
    row = system.accounts("passwd").get(name)
    if row is None:
        return None
    shadow = system.accounts("shadow").get(name, [name, ""])
    groups = [g for g, fields in system.accounts("group").items() if name in fields[-1].split(",")]
    return Login(name, shadow[1], tuple(groups), (), row[-1])


def _look_units(system: System, units: Sequence[Unit]) -> list[Unit]:
    """Ask systemd once for the state of all units."""
    if not units:
        return []
    if not system.live:
        # Nothing runs in a tree; only whether a foreign unit is enabled can be seen.
        on = {
            unit.name: system.systemctl("is-enabled", unit.name).out.strip() == "enabled"
            for unit in units
            if unit.enabled is not None
        }
        return [Unit(unit.name, unit.active, on.get(unit.name)) for unit in units]
    properties = ("-p", "Id,ActiveState,UnitFileState")
    shown = system.systemctl("show", *properties, *(unit.name for unit in units)).out
    found = []
    # Blocks come in the order of the names; an alias would show another Id.
    for unit, block in zip(units, shown.strip().split("\n\n"), strict=False):
        values = dict(line.partition("=")[::2] for line in block.splitlines())
        active = values.get("ActiveState") in ("active", "activating", "reloading")
        found.append(Unit(unit.name, active, values.get("UnitFileState") == "enabled"))
    return found
