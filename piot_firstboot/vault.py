"""The store of secrets, readable for root only: what piot.conf gave, and `piot secret set`.

Each is one file, sealed by systemd-creds with the host's key where there is systemd-creds and
the system runs; else, and in a tree, it is the plain value. Values are text; bytes that are no
UTF-8 come and go as surrogates, so any file survives. Nothing is ever added to a value.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

from piot_firstboot import conceal as places
from piot_firstboot import credential
from piot_firstboot.conftext import Entry
from piot_firstboot.credential import FOLDER, SEALED
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System

_HOST_KEY = "/var/lib/systemd/credential.secret"

# What was opened in this run, by name and sealed bytes: each call of systemd-creds takes a tenth
# of a second on a small device, and one run asks several times.
_opened: dict[tuple[str, bytes], str] = {}


class Unopenable(ApplyError):
    """A sealed secret was sealed on another machine, or the host's key is gone."""


class _Stored(Mapping[str, str]):
    """What the store holds by name, opened when asked for; what cannot be opened is not there."""

    def __init__(self, system: System) -> None:
        self._system = system

    def __getitem__(self, name: str) -> str:
        try:
            value = get(self._system, name)
        except Unopenable:
            value = None
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in names(self._system) if self.get(name) is not None)

    def __len__(self) -> int:
        return len(tuple(self))


def names(system: System) -> tuple[str, ...]:
    """Return the sorted names of all secrets."""
    found = {name.removesuffix(SEALED) for name in system.names(FOLDER)}
    return tuple(sorted(name for name in found if credential.is_name(name)))


def sealed(system: System, name: str) -> bool:
    """Tell whether a secret lies encrypted."""
    return credential.is_name(name) and system.exists(credential.path(name, sealed=True))


def plain(system: System) -> frozenset[str]:
    """Return the names of the secrets that do not lie encrypted."""
    return frozenset(name for name in names(system) if not sealed(system, name))


def get(system: System, name: str) -> str | None:
    """Return a secret, or None where there is none; raises Unopenable."""
    if not credential.is_name(name):
        return None
    data = system.read(credential.path(name, sealed=True))
    if data is not None:
        return _open(system, name, data)
    data = system.read(credential.path(name, sealed=False))
    return None if data is None else as_text(data)


def values(system: System) -> tuple[str, ...]:
    """Return every secret that can be opened, for redacting."""
    return tuple(value for value in _Stored(system).values() if value)


def resolve(system: System) -> Mapping[str, str]:
    """Return what `@stored` stands for, by name; each is opened when it is asked for."""
    return _Stored(system)


def put(system: System, name: str, value: str) -> bool:
    """Store a secret, sealed if possible, unless it is stored so already; tell whether.

    Raises ApplyError for a name that cannot be, OSError when the file system refuses.
    """
    if not credential.is_name(name):
        raise ApplyError(f"there can be no secret called {name!r}")
    before = sealed(system, name)
    try:
        same = get(system, name) == value
    except Unopenable:
        same = False
    if same and before:
        return False
    data = _seal(system, name, value)
    if same and data is None:
        return False
    system.mkdir(FOLDER, 0o700, "root")
    now = data is not None
    content = as_bytes(value) if data is None else data
    # The new one first: cut off between the two, the sealed one counts.
    system.write(credential.path(name, sealed=now), content, 0o600)
    system.remove(credential.path(name, sealed=not now))
    return True


def drop(system: System, name: str) -> bool:
    """Remove a secret; tell whether there was one."""
    if not credential.is_name(name):
        return False
    gone = [system.remove(credential.path(name, sealed=way)) for way in (True, False)]
    system.remove(credential.FOLDER)  # once nothing is in it
    return any(gone)


def directive(system: System, name: str) -> tuple[str, str]:
    """Return the key and value that give a unit this secret, as it lies in the store."""
    return credential.directive(name, sealed=sealed(system, name))


# -- the file that a secret came from -----------------------------------------------------------


def conceal(system: System, path: str, data: bytes, entries: Sequence[Entry]) -> str:
    """Overwrite stored values where they lie in piot.conf, then put `@stored` in their place.

    `data` is what was read there: a file that someone changed since is left alone. Returns "" or
    why it could not be done, for a person; the file is whole in any case. Cut off in between, it
    holds the mask, which is read as `@stored`.
    """
    if not entries:
        return ""
    masked, ranges = places.masked(data, entries)
    name = path.rpartition("/")[2]
    edited = f"{name} was edited meanwhile; its secrets stay in it until it is applied again"
    try:
        _settle(system)
        if not system.overwrite(path, data, {start: masked[start:end] for start, end in ranges}):
            return edited
    except (ApplyError, OSError) as error:
        return f"the secrets in {name} could not be overwritten: {_words(error)}"
    try:
        if system.read(path) != masked:
            return edited
        system.write(path, places.final(data, entries))
    except OSError as error:
        return f"the secrets in {name} are overwritten, not yet replaced: {_words(error)}"
    return ""


def erase(system: System, path: str) -> str:
    """Overwrite a file (a private key on the boot partition) in place and remove it.

    Returns "" or why it could not be done.
    """
    data = system.read(path)
    if data is None:
        return ""
    name = path.rpartition("/")[2]
    try:
        _settle(system)
        if not system.overwrite(path, data, {0: bytes(len(data))}):
            return f"{name} was changed meanwhile, and stays"
        system.remove(path)
    except (ApplyError, OSError) as error:
        return f"{name} could not be overwritten: {_words(error)}"
    return ""


def _settle(system: System) -> None:
    """Flush the store before its sources go, and the host's key with it.

    systemd-creds made that a moment ago, and does not flush it.
    """
    system.sync(FOLDER)


def _words(error: Exception) -> str:
    """Say why a step failed."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


# -- sealing ------------------------------------------------------------------------------------


def _seal(system: System, name: str, value: str) -> bytes | None:
    """Encrypt with the host's key; None where that is not possible."""
    if not system.live:
        return None
    words = ("systemd-creds", "encrypt", "--with-key=host", f"--name={name}", "-", "-")
    result = system.run(words, stdin=as_bytes(value))
    if result.code != 0 and system.read(_HOST_KEY) == b"":
        # Left by a power cut: systemd-creds refuses it, and nothing was ever sealed with it.
        system.remove(_HOST_KEY)
        result = system.run(words, stdin=as_bytes(value))
    data = result.out.encode()
    if result.code != 0 or not data:
        return None
    _opened[name, data] = value
    return data


def _open(system: System, name: str, data: bytes) -> str:
    """Decrypt what `_seal` made."""
    hint = (
        "sealed secrets open only on the machine that sealed them; write it into piot.conf again, "
        f"or run: sudo piot secret set {name}"
    )
    if not system.live:
        raise Unopenable(f"the stored secret {name} is sealed by the machine it is for", hint)
    if (name, data) not in _opened:
        # In base64, because what a command prints is taken for text.
        words = ("systemd-creds", "decrypt", f"--name={name}", "--transcode=base64", "-", "-")
        result = system.run(words, stdin=data)
        if result.code != 0:
            raise Unopenable(f"the stored secret {name} cannot be opened: {result.reason}", hint)
        _opened[name, data] = as_text(base64.b64decode(result.out))
    return _opened[name, data]


def as_text(data: bytes) -> str:
    """Return bytes as the store keeps them."""
    return data.decode("utf-8", "surrogateescape")


def as_bytes(value: str) -> bytes:
    """Return the bytes that a value stands for."""
    return value.encode("utf-8", "surrogateescape")


def is_remnant(data: bytes, value: str) -> bool:
    """Tell whether a file is what a power cut left of a secret that was being erased.

    What lies in the store may have other line ends than the file had.
    """
    whole = as_bytes(value)
    if len(data) == len(whole) and all(a in (0, b) for a, b in zip(data, whole, strict=True)):
        return True
    pieces = [piece.replace(b"\r", b"") for piece in data.split(b"\0")]
    return b"\0" in data and all(piece in whole for piece in pieces)
