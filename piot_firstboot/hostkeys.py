"""Lines of known_hosts: which of them are about a host, and how their keys are shown.

The file's format is that of sshd(8), SSH_KNOWN_HOSTS FILE FORMAT.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable

_PORT = 22


def matching(lines: Iterable[str], host: str, port: int) -> tuple[str, ...]:
    """Return the lines that ssh would use for a host."""
    names = (host.lower(),) if port == _PORT else (f"[{host.lower()}]:{port}", host.lower())
    return tuple(line for line in lines if any(_fits(_words(line)[0], name) for name in names))


def fingerprint(line: str) -> str:
    """Show the key of a line as ssh does: `ED25519 SHA256:…`."""
    _, kind, key = _words(line)
    try:
        digest = hashlib.sha256(base64.b64decode(key)).digest()
    except binascii.Error:
        return kind
    short = re.sub(r"^(ssh-|sk-ssh-|sk-)?(\w+).*$", r"\2", kind).upper()
    return f"{short} SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _words(line: str) -> tuple[str, str, str]:
    """Split a line into its hosts, the type of its key, and the key."""
    words = line.split()
    if words and words[0].startswith("@"):
        del words[0]
    hosts, kind, key, *_ = [*words, "", "", ""]
    return hosts, kind, key


def _fits(hosts: str, name: str) -> bool:
    """Tell whether the first field of a line names a host: hashed, or patterns with commas."""
    if hosts.startswith("|1|"):
        salt, _, digest = hosts[3:].partition("|")
        try:
            made = hmac.new(base64.b64decode(salt), name.encode(), "sha1").digest()
            return hmac.compare_digest(made, base64.b64decode(digest))
        except binascii.Error:
            return False
    patterns = hosts.lower().split(",")
    if any(p.startswith("!") and _like(p[1:], name) for p in patterns):
        return False
    return any(_like(p, name) for p in patterns)


def _like(pattern: str, name: str) -> bool:
    """Compare with a pattern in which `*` and `?` stand for any characters."""
    wild = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(wild, name) is not None
