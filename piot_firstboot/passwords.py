"""Passwords → hashes, by the system's own libcrypt: yescrypt, as Debian's passwd makes them."""

from __future__ import annotations

import ctypes
from dataclasses import replace

from piot_firstboot.config import Config
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import System
from piot_firstboot.values import BadValue, password_hash, usable_hash

_LIBRARY = "libcrypt.so.1"
_METHOD = b"$y$"  # crypt(5), yescrypt; login.defs(5) of both releases names it, too


def settle(system: System, config: Config) -> tuple[Config, dict[str, str]]:
    """Replace each password by a hash; return also what the store shall keep: the hashes.

    An account whose password fits already keeps the hash that it has, so that nothing changes
    when nothing changed. Raises ApplyError where there is no libcrypt.
    """
    accounts, keeps = [], {}
    for account in config.accounts:
        if account.password is not None:
            former = system.accounts("shadow").get(account.name, ["", ""])[1]
            made = _settled(account.password, former)
            keeps[f"{account.section}.password"] = made
            account = replace(account, password=None, password_hash=made)
        accounts.append(account)
    return replace(config, accounts=tuple(accounts)), keeps


def _settled(password: str, former: str) -> str:
    """Return the hash for what the file or the store gave."""
    try:
        # What the store keeps is a hash; nobody's password looks like a whole one.
        if password.startswith("$"):
            return password_hash(password)
    except BadValue:
        pass
    return former if _strong(former) and fits(password, former) else make(password)


def _strong(hashed: str) -> bool:
    """Tell whether a hash is of a kind that resists guessing, and of an open account."""
    try:
        return usable_hash(password_hash(hashed))
    except BadValue:
        return False


def fits(password: str, hashed: str) -> bool:
    """Tell whether a password is the one that a hash was made of."""
    return hashed.startswith("$") and _crypt(password, hashed) == hashed


def usable(hashed: str) -> bool:
    """Tell whether a password can fit this hash here: libcrypt, if there, knows its method."""
    if not usable_hash(hashed):
        return False
    try:
        verdict = _library().crypt_checksalt(hashed.encode())
    except ApplyError:
        return True
    # CRYPT_SALT_OK, CRYPT_SALT_METHOD_LEGACY, CRYPT_SALT_TOO_CHEAP; crypt_checksalt(3).
    return verdict in (0, 3, 4)


def make(password: str) -> str:
    """Hash a password with a new salt."""
    library = _library()
    # Cost 0 is the library's own choice; without random bytes it asks the kernel for some.
    salt = library.crypt_gensalt(_METHOD, 0, None, 0)
    made = _crypt(password, salt.decode()) if salt else ""
    if not made.startswith(_METHOD.decode()):
        raise ApplyError(f"{_LIBRARY} made no hash of a password")
    return made


def _crypt(password: str, setting: str) -> str:
    """Call crypt(3); "" when it fails."""
    # A password from the store may be of bytes that are no UTF-8.
    made = _library().crypt(password.encode("utf-8", "surrogateescape"), setting.encode())
    return made.decode("ascii", "replace") if made else ""


def _library() -> ctypes.CDLL:
    """Load libcrypt. Python's own crypt module is gone from 3.13 on."""
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise ApplyError(f"there is no {_LIBRARY} to hash passwords with") from None
    library.crypt_checksalt.restype = ctypes.c_int
    library.crypt_checksalt.argtypes = (ctypes.c_char_p,)
    library.crypt.restype = ctypes.c_char_p
    library.crypt.argtypes = (ctypes.c_char_p, ctypes.c_char_p)
    library.crypt_gensalt.restype = ctypes.c_char_p
    library.crypt_gensalt.argtypes = (
        ctypes.c_char_p,
        ctypes.c_ulong,
        ctypes.c_char_p,
        ctypes.c_int,
    )
    return library
