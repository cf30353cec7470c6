"""Read piot.conf together with all that judging and rendering it needs to know of the device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from piot_firstboot import config, conftext, device, idle, passwords, vault
from piot_firstboot.apply import scopes
from piot_firstboot.config import Config
from piot_firstboot.errors import ApplyError
from piot_firstboot.facts import Facts
from piot_firstboot.plan import Part
from piot_firstboot.render import render_config
from piot_firstboot.system import System

TODO = "/var/lib/piot/setup.todo"  # there while piot-setup.service has something to do
_LOCK = "/run/piot/conf.lock"
_AGAIN = "write it again; where all that it made shall go, a comment is enough:"


@dataclass(frozen=True, slots=True)
class Intake:
    """A piot.conf that was judged good: where it lies, its bytes, and what it comes to.

    `keeps` is what the store shall hold where that is not the value itself: the hash of a
    password. `notes` say what will not come true although all of it is applied.
    """

    path: str
    data: bytes = field(repr=False)
    config: Config
    facts: Facts
    parts: tuple[Part, ...]
    keeps: Mapping[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()


@contextmanager
def locked(system: System, *, wait: bool = False) -> Iterator[None]:
    """Let one run at a time work on piot.conf; raises ApplyError when another is at it."""
    with system.lock(_LOCK, wait=wait) as held:
        if not held:
            raise ApplyError("piot.conf is being applied", "systemctl status piot-firstboot")
        yield


def find(system: System) -> str:
    """Return where piot.conf lies, or "" when there is none."""
    return idle.conf_path(system.root.rstrip("/"))


def read(
    system: System, path: str, imported: Mapping[str, tuple[str, ...]] | None = None
) -> Intake:
    """Read, judge and render piot.conf. Raises ConfigError and ApplyError.

    `imported` holds the keys that `import_keys` brought, by source.
    """
    data = system.read(path, conftext.MAX_SIZE + 1)
    if data is None:
        # Not the same as an empty one, which would take away what was applied.
        raise ApplyError("a link that leads nowhere", f"make it lead to a file, or remove {path}")
    if _is_blank(data) and any(scope.startswith("conf.") for scope in scopes(system)):
        # A card that was pulled out while the file was saved: nobody takes all back like this.
        raise ApplyError("the file is empty", f"{_AGAIN} {path}")
    known = device.words(system)
    judged = config.parse(data, path.rpartition("/")[2], known=known, stored=vault.resolve(system))
    judged, keeps = passwords.settle(system, judged)
    facts = device.facts(system)
    facts = replace(facts, files=_files(system, path, judged), imported=imported or {})
    parts = render_config(judged, facts)
    notes = (*_passed_over(system, path), *_cautions(parts), *_idle(judged))
    return Intake(path, data, judged, facts, parts, keeps, notes)


def _is_blank(data: bytes) -> bool:
    """Tell whether a file has not even a comment in it."""
    start, encoding = conftext.shape(data)
    return not data[start:].decode(encoding, "replace").strip(f"{conftext.BLANKS}\r\n")


def _passed_over(system: System, path: str) -> Iterator[str]:
    """Say which files beside it look like the piot.conf, and are not read."""
    folder, _, taken = path.rpartition("/")
    for name in system.names(folder):
        if name != taken and idle.pick_name([name]):
            yield f"{name} is not read, because {taken} lies beside it; keep one of them"


def _cautions(parts: Iterable[Part]) -> Iterator[str]:
    """Say what others overrule."""
    for part in parts:
        if part.caution:
            yield f"[{part.section}] {part.caution.reason}; {part.caution.hint}"


def _idle(judged: Config) -> Iterator[str]:
    """Say of which sections this version makes nothing."""
    names = list(dict.fromkeys(name for name, _ in judged.idle()))
    if names:
        yield f"[{'] ['.join(names)}]: accepted; this version does nothing with what it asks yet"


def _files(system: System, path: str, judged: Config) -> dict[str, bytes]:
    """Read the files that piot.conf names: beside it, or in the store if they were moved there."""
    folder = path.rpartition("/")[0]
    found = {}
    for name, stored in judged.files().items():
        data = system.read(f"{folder}/{name}")
        kept = vault.get(system, stored) if stored else None
        if kept is not None and (data is None or vault.is_remnant(data, kept)):
            data = vault.as_bytes(kept)
        if data is not None:
            found[name] = data
    return found
