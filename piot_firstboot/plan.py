"""What separates the system from its desired state.

`diff` compares items with what was observed and with what PioT made earlier under the same
scope, and returns the changes, in the one order in which they are safe to perform.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from hashlib import blake2b

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

_UNITS = "/etc/systemd/system"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a device cannot do what a section asks for, and what a person can do about it."""

    reason: str
    hint: str


@dataclass(frozen=True, slots=True)
class Part:
    """What one section of piot.conf comes to; it has an ownership record of its own.

    `section` is its header (`wifi.home`); `covers` names further ones that ended up in it. `late`
    parts need the network or much time: piot-setup.service does them, not the boot. A part with an
    `obstacle` is not applied: what was in force before stays. `caution` says what will not come
    true of one that is.
    """

    section: str
    items: tuple[Item, ...]
    late: bool = False
    covers: tuple[str, ...] = ()
    obstacle: Obstacle | None = None
    caution: Obstacle | None = None

    @property
    def scope(self) -> str:
        """Name the ownership record."""
        return f"{'late' if self.late else 'conf'}.{self.section}"

    @property
    def sections(self) -> tuple[str, ...]:
        """List the headers of the file that this part answers for."""
        return (self.section, *self.covers)

    def fingerprint(self, secret: bytes) -> str:
        """Tell one desired state from another; `secret` keeps guesses at passwords costly."""
        rows = [(key(item), astuple(item)) for item in self.items]
        return blake2b(repr(rows).encode(), key=secret[:64], digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Change:
    """One step from the system as it is to the system as planned.

    `verb` is create, change or remove for what lies on disk; start, stop, restart, reload, enable
    or disable for a unit. `item` is what is wanted (None for a removal), `now` what was found.
    """

    verb: str
    key: str
    item: Item | None = None
    now: Item | None = None

    def __str__(self) -> str:
        """Say the change in words, as in `create file /etc/hostname`."""
        return f"{self.verb} {self.key}"


def owned(items: Iterable[Item]) -> tuple[str, ...]:
    """List what the ownership record keeps of these items, one entry each.

    A line within a shared file is kept as `line PATH TEXT`. Accounts of people, units of
    other packages and what a machine must have in any case are there without PioT, or must outlive
    it: they are not recorded.
    """
    entries: list[str] = []
    for item in items:
        match item:
            case Lines():
                entries += [f"line {item.path} {line}" for line in item.lines]
            case Login() | State() | Word() | Package() | File(keep=True) | Symlink(keep=True):
                pass
            case Unit(name=name) if not name.startswith("piot-"):
                pass
            case _:
                entries.append(key(item))
    return tuple(entries)


def diff(
    items: Iterable[Item],
    current: Mapping[str, Item],
    before: Iterable[str] = (),
    spared: frozenset[str] = frozenset(),
) -> tuple[Change, ...]:
    """Return the changes that lead from `current` to `items`, in the order to perform them.

    `current` maps the key of each item, and of each removable entry of `before`, to what was
    found; a missing key means that there is nothing. `before` is the ownership record of the
    same scope: what stands in it and is no longer wanted is removed, unless another scope wants it
    (`spared`). An entry `pending PATH` in
    it is a file that was written by a run which ended before the units had followed.
    """
    items, before = tuple(items), tuple(before)
    wanted = set(owned(items))
    gone = [entry for entry in before if entry not in wanted and entry not in spared]
    changes = [Change("stop", f"unit {name}") for name in _leaving(gone)]
    changes += _removals(gone, current, {key(item) for item in items})
    written = {change.key.partition(" ")[2] for change in changes}
    written |= {entry.partition(" ")[2] for entry in before if entry.startswith("pending ")}
    for item in sorted(items, key=_rank):
        if isinstance(item, Unit):
            continue
        now = current.get(key(item))
        # The tools change several tables: one that was stopped may have come to the first alone.
        half = isinstance(item, Login) and f"pending {item.name}" in before
        if half or not _equal(item, now, gone):
            changes.append(Change("create" if now is None else "change", key(item), item, now))
            written.add(key(item).partition(" ")[2])
    for item in items:
        if isinstance(item, Unit):
            changes += _unit_changes(item, current.get(key(item)), written)
    return tuple(changes)


def _leaving(gone: Iterable[str]) -> list[str]:
    """Name the units that go: those that were started, and those whose file goes (jobs)."""
    names = []
    for entry in gone:
        kind, _, name = entry.partition(" ")
        folder, _, base = name.rpartition("/")
        if kind == "unit" or (kind == "file" and folder == _UNITS and "." in base):
            names.append(base)
    return list(dict.fromkeys(names))


def _rank(item: Item) -> int:
    """Put accounts before the files they own, and directories before what lies in them."""
    order = (Package, SystemUser, Login, Directory, Credential, File, Symlink, Lines, Word, State)
    return order.index(type(item)) if type(item) in order else len(order)


def _removals(gone: list[str], current: Mapping[str, Item], wanted: set[str]) -> list[Change]:
    """Remove links and files first, then directories from the deepest up, then users."""
    on_disk = [
        e for e in gone if e.partition(" ")[0] in ("file", "symlink", "secret") and e in current
    ]
    folders = sorted((e for e in gone if e.startswith("directory ") and e in current), reverse=True)
    users = [e for e in gone if e.startswith("user ") and e in current]
    # A shared file that no item names any more still loses the lines that PioT put there.
    shared: dict[str, list[str]] = {}
    for entry in gone:
        if entry.startswith("line "):
            _, path, line = entry.split(" ", 2)
            if f"lines {path}" not in wanted and f"lines {path}" in current:
                shared.setdefault(path, []).append(line)
    changes = []
    for path, lines in shared.items():
        now = current[f"lines {path}"]
        if isinstance(now, Lines) and set(lines) & set(now.lines):
            left = tuple(line for line in now.lines if line not in lines)
            item = Lines(path, left, mode=now.mode, owner=now.owner, group=now.group)
            changes.append(Change("change", f"lines {path}", item, now))
    removed = [Change("remove", entry, now=current[entry]) for entry in on_disk + folders + users]
    return removed + changes


def merge(item: Lines, now: Lines | None, gone: Iterable[str]) -> tuple[str, ...]:
    """Return all lines that the file shall have, keeping everyone else's lines in place."""
    dropped = {entry.split(" ", 2)[2] for entry in gone if entry.startswith(f"line {item.path} ")}
    kept = [
        line
        for line in (now.lines if now else ())
        if line in item.lines
        or not (line in dropped or (item.replaces and line.split()[:1] == [item.replaces]))
    ]
    return (*kept, *(line for line in item.lines if line not in kept))


def _equal(item: Item, now: Item | None, gone: list[str]) -> bool:
    """Tell whether what was found is what is wanted."""
    match item, now:
        case _, None:
            return False
        case Lines(), Lines():
            return merge(item, now, gone) == now.lines and _access(item) == _access(now)
        case File(), File():
            return item.content == now.content and _access(item) == _access(now)
        case Login(), Login():
            return (
                item.password_hash in (None, now.password_hash)
                and set(item.groups) <= set(now.groups)
                and not set(item.not_groups) & set(now.groups)
                and item.shell == now.shell
            )
        case SystemUser(), SystemUser():
            return True
        case Symlink(), Symlink():
            return item.target == now.target
        case _:
            return item == now


def _access(item: File | Lines) -> tuple[int, str, str]:
    """Take what decides who may use a file."""
    return item.mode, item.owner, item.group


def _unit_changes(item: Unit, now: Item | None, written: set[str]) -> list[Change]:
    """Decide what a unit must do, given its state and the files that are about to change."""
    state = now if isinstance(now, Unit) else Unit(item.name, active=False, enabled=None)
    verbs = []
    # With one of its links a unit counts as enabled; that of ssh.service's alias starts nothing.
    half = item.name in written  # by a run that was cut off
    if item.enabled is not None and (half or item.enabled != state.enabled):
        verbs.append("enable" if item.enabled else "disable")
    touched = bool(written.intersection(item.because))
    if item.active is False and state.active:
        verbs.append("stop")
    elif (item.on_change == "start" and touched) or (item.active and not state.active):
        verbs.append("start")
    elif state.active and touched and item.on_change:
        heavy = written.intersection(item.restart_for)
        verbs.append("restart" if heavy else item.on_change)
    return [Change(verb, key(item), item, now) for verb in verbs]
