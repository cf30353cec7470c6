"""The SSH key by which an app's repository knows the device: given in piot.conf, or made here.

A key that is made here never leaves the device; its public half stands in the report and in
`piot status`, for the person to add to the repository.
"""

from __future__ import annotations

from piot_firstboot import vault
from piot_firstboot.errors import ApplyError, Unreachable
from piot_firstboot.notify import say
from piot_firstboot.state import Source, folder
from piot_firstboot.system import System

_WORK = "/run/piot/keygen"  # in memory, readable for root only


def made(app: str) -> str:
    """Return the name, in the store, of the key that was made on the device for an app."""
    return f"key.{app}"


def private(system: System, origin: Source) -> bytes:
    """Return the private key as ssh reads it; makes one at the first call if none is given.

    Raises Unreachable when it is not there, or cannot be made.
    """
    name = origin.deploy_key or made(origin.name)
    try:
        key = vault.get(system, name)
    except vault.Unopenable as error:
        if origin.deploy_key:
            raise Unreachable(str(error), error.hint) from None
        say(f"{origin.name}: {error}; a new key is made")
        key = None
    if key is not None:
        return vault.as_bytes(key)
    if origin.deploy_key:
        hint = f"write deploy_key into piot.conf again, or run: sudo piot secret set {name}"
        raise Unreachable(f"{origin.name}: its deploy key is not in the store", hint)
    return _make(system, origin.name)


def public(system: System, origin: Source) -> str:
    """Return the public half in one line; "" while there is no key, or none that can be read."""
    if not origin.deploy_key:
        kept = system.read(_public(origin.name))
        if kept is not None:
            return kept.decode("utf-8", "replace").strip()
    try:
        key = vault.get(system, origin.deploy_key or made(origin.name))
    except vault.Unopenable:
        return ""
    if key is None:
        return ""
    with system.in_memory(vault.as_bytes(key)) as path:
        shown = system.run(("ssh-keygen", "-y", "-P", "", "-f", path))
    return shown.out.strip() if shown.code == 0 else ""


def drop(system: System, app: str) -> None:
    """Forget the key that was made for an app that left."""
    vault.drop(system, made(app))


def _public(app: str) -> str:
    """Return where the public half of a key that was made here lies."""
    return f"{folder(app)}/deploy_key.pub"


def _make(system: System, app: str) -> bytes:
    """Make a key, keep its halves and tell of it; raises Unreachable where that is not possible."""
    if not system.live:
        # In a tree it could not be sealed, and each copy of an image would have the same.
        hint = "the device does it at its first boot; or give one: deploy_key = …"
        raise Unreachable(f"{app}: its key for SSH is made on the device itself", hint)
    place = f"{_WORK}/{app}"
    system.remove_tree(place)
    system.mkdir(_WORK, 0o700, "root")
    system.mkdir(place, 0o700, "root")
    try:
        comment = f"piot-{app}@{system.hostname()}"
        kind = ("-q", "-t", "ed25519", "-N", "", "-C", comment)
        argv = ("ssh-keygen", *kind, "-f", system.path(f"{place}/key"))
        system.run(argv, check=True)
        key = system.read(f"{place}/key") or b""
        line = system.read(f"{place}/key.pub") or b""
    except ApplyError as error:
        raise Unreachable(f"{app}: no key for SSH could be made: {error}", error.hint) from None
    finally:
        system.remove_tree(place)
    # The public half first: cut off between the two, both are made anew.
    system.write(_public(app), line)
    vault.put(system, made(app), vault.as_text(key))
    say(f"{app}: a key for its repository was made; add it there, as a deploy key that only reads:")
    say(line.decode("utf-8", "replace").strip())
    return key
