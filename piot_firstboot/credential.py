"""Where a secret lies in the store, and the directive by which a unit is given it."""

from __future__ import annotations

import re

FOLDER = "/var/lib/piot/secrets"
SEALED = ".cred"  # ends the name of a file that systemd-creds encrypted; no setting has that key
# systemd takes such names for credentials, systemd.exec(5); a file has at most 255 bytes.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")


def is_name(text: str) -> bool:
    """Tell whether the store can hold a secret of this name."""
    return bool(_NAME.fullmatch(text)) and not text.endswith(SEALED)


def path(name: str, *, sealed: bool) -> str:
    """Return the file that holds a secret."""
    return f"{FOLDER}/{name}{SEALED if sealed else ''}"


def directive(name: str, *, sealed: bool) -> tuple[str, str]:
    """Return what gives a unit a secret as `$CREDENTIALS_DIRECTORY/NAME`: key and value."""
    key = "LoadCredentialEncrypted" if sealed else "LoadCredential"
    return key, f"{name}:{path(name, sealed=sealed)}"
