"""The one applier: observe, compare, perform in a fixed order, report.

Both piot.conf and .piot.yaml end here. What was made is recorded per scope under
/var/lib/piot/owned, and only what is recorded is ever removed. The record is written before the
first change (with all that may come to exist) and again after the last one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from piot_firstboot.errors import ApplyError
from piot_firstboot.items import Item, Package, State, Unit
from piot_firstboot.observe import observe
from piot_firstboot.packages import install
from piot_firstboot.perform import UNIT_FOLDERS, make, remove
from piot_firstboot.plan import Change, diff, owned
from piot_firstboot.system import System

OWNED = "/var/lib/piot/owned"


def scopes(system: System) -> tuple[str, ...]:
    """List the scopes that own something: `conf`, and `app.NAME` for each app."""
    return tuple(name for name in system.names(OWNED) if not name.startswith("."))


def apply(
    system: System,
    scope: str,
    items: Iterable[Item],
    *,
    dry_run: bool = False,
    wait: bool = True,
    spared: frozenset[str] = frozenset(),
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Change, ...]:
    """Make the system equal the items and return what changed; with `dry_run`, what would.

    What is `spared` stays although this scope no longer wants it, because another one does.

    With `wait` unset (early boot) units are queued, not awaited. Raises ApplyError when a step is
    refused; the next run takes up from there.
    """
    # A tree has no running kernel, and packages come over the network.
    items = tuple(item for item in items if system.live or not isinstance(item, State | Package))
    before = recorded(system, scope)
    current = observe(system, items, before)
    changes = diff(items, current, before, spared)
    if dry_run:
        return changes
    after = owned(items)
    if changes:
        touched = [f"pending {change.key.partition(' ')[2]}" for change in changes if change.item]
        _record(system, scope, {*before, *after, *touched})
        _perform(system, changes, before, wait, say)
    if set(after) != set(before) or changes:
        _record(system, scope, set(after))
    return changes


def mark(system: System, scope: str, paths: Iterable[str]) -> None:
    """Let the next apply of a scope count these files as changed: its units follow them."""
    before = recorded(system, scope)
    if before:
        _record(system, scope, {*before, *(f"pending {path}" for path in paths)})


def recorded(system: System, scope: str, kind: str = "") -> tuple[str, ...]:
    """Read the ownership record of a scope, or the names of one kind in it."""
    # A worn card may have damaged it: what is no path of PioT's is never found, and so not removed.
    text = (system.read(f"{OWNED}/{scope}") or b"").decode("utf-8", "replace")
    lines = tuple(line for line in text.splitlines() if line)
    if not kind:
        return lines
    return tuple(line.partition(" ")[2] for line in lines if line.startswith(f"{kind} "))


def _record(system: System, scope: str, entries: set[str]) -> None:
    """Write the ownership record of a scope; none is kept for a scope that owns nothing."""
    if entries:
        data = "".join(f"{entry}\n" for entry in sorted(entries)).encode()
        system.write(f"{OWNED}/{scope}", data, 0o600)
    else:
        system.remove(f"{OWNED}/{scope}")


# -- perform ------------------------------------------------------------------------------------


def _perform(
    system: System,
    changes: Sequence[Change],
    before: Sequence[str],
    wait: bool,
    say: Callable[[str], None],
) -> None:
    """Carry out the changes: stop, remove, accounts, files, reload, enable, start."""
    stops = [c for c in changes if c.verb == "stop" and c.item is None]
    units = [c for c in changes if isinstance(c.item, Unit)]
    if stops and system.live:
        names = [change.key.partition(" ")[2] for change in stops]
        say(f"stopping {', '.join(names)}")
        # A unit that was never loaded is not an error: what counts is that it does not run.
        system.systemctl("stop", *names, timeout=180)
        system.systemctl("reset-failed", *names)
    packages = [c.item.name for c in changes if isinstance(c.item, Package)]
    if packages:
        install(system, packages, say)
    for change in changes:
        if change.verb == "remove":
            remove(system, change)
        elif change.item and not isinstance(change.item, Unit | Package):
            make(system, change, before)
    reload = _reload_needed(changes, before)
    if not units and not reload:
        return
    if system.live and reload:
        system.run(("systemctl", "daemon-reload"), check=True)
    for change in units:
        if change.verb in ("enable", "disable"):
            where = ("--no-reload",) if system.live else ()
            result = system.systemctl(change.verb, *where, change.key.partition(" ")[2])
            if result.code != 0:
                raise ApplyError(f"systemctl {change.verb}: {result.reason}")
    if system.live:
        _start(system, [c for c in units if c.verb not in ("enable", "disable")], wait, say)


def _reload_needed(changes: Iterable[Change], before: Iterable[str]) -> bool:
    """Tell whether systemd holds a unit in memory that changed on disk.

    A unit that is new on disk is read when it is first named, so a reload (175 ms of the whole
    machine) is left out when nothing that was there before changed. A new drop-in counts as
    change: its unit may be loaded. So does a file that a run wrote which was cut off: whether it
    came as far as the reload is not known, and a restart would bring back the old text.
    """
    if any(entry.startswith(tuple(f"pending {at}" for at in UNIT_FOLDERS)) for entry in before):
        return True
    for change in changes:
        path = change.key.partition(" ")[2]
        if path.startswith(UNIT_FOLDERS) and (change.verb != "create" or ".d/" in path):
            return True
    return False


def _kind(change: Change) -> tuple[str, str]:
    """Tell which changes of units may share a call."""
    return change.verb, change.item.on_change if isinstance(change.item, Unit) else ""


def _start(
    system: System, changes: Sequence[Change], wait: bool, say: Callable[[str], None]
) -> None:
    """Start, stop, restart and reload units by name, neighbours of one kind in one call.

    Jobs of a commit (`on_change` is start) get a call of their own: when one fails, nothing after
    it is started.
    """
    for (verb, _), group in groupby(changes, key=_kind):
        items = [change.item for change in group if isinstance(change.item, Unit)]
        names = [item.name for item in items]
        say(f"{verb} {', '.join(names)}")
        block = () if wait else ("--no-block",)
        # A unit that gave up earlier must not refuse because of it.
        system.run(("systemctl", "reset-failed", *names))
        limit = sum(item.wait for item in items)
        word = "try-reload-or-restart" if verb == "reload" else verb
        result = system.run(("systemctl", word, *block, *names), timeout=limit)
        if result.code != 0:
            raise ApplyError(f"{verb} {', '.join(names)}: {result.reason}")
