"""SSH private keys as people hand them over: in a file, or in one line of piot.conf."""

from __future__ import annotations

import base64
import binascii
import re

_KIND = re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----")
_OPENSSH = "OPENSSH PRIVATE KEY"
_WIDTH = 70  # characters in a line, as ssh-keygen writes it
# PROTOCOL.key of OpenSSH: what each private key of its own format begins with, and behind it the
# cipher of one without a passphrase.
_MAGIC = b"openssh-key-v1\0"
_OPEN = b"\0\0\0\x04none"
_BOM = b"\xef\xbb\xbf"
_PASSPHRASE = (
    "needs a passphrase, and nobody is there to type it",
    "make a key for this device alone: ssh-keygen -t ed25519 -N '' -f NAME",
)
_CUT = ("is not complete", "copy it again, with its first and last line")


class BadKey(ValueError):
    """What was given is no key that a device can use; `hint` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        """Take what is wrong and what to do about it."""
        super().__init__(message)
        self.hint = hint


def is_text(value: str) -> bool:
    """Tell the key itself from the name of its file."""
    return "\n" in value


def from_line(line: str) -> str:
    """Return the file for a key that was written in one line, with or without its markers."""
    body = re.sub(r"-----(BEGIN|END) [A-Z ]+-----|\s", "", line)
    rows = (body[at : at + _WIDTH] for at in range(0, len(body), _WIDTH))
    text = "\n".join((f"-----BEGIN {_OPENSSH}-----", *rows, f"-----END {_OPENSSH}-----", ""))
    return from_file(text.encode())


def from_file(data: bytes) -> str:
    """Return the text of a key file as ssh takes it: newlines, and one at its end.

    Raises BadKey for what is none, and for one that asks for a passphrase.
    """
    text = data.removeprefix(_BOM).decode("ascii", "replace").strip()
    text = text.replace("\r\n", "\n").replace("\r", "\n") + "\n"
    if text.startswith("PuTTY-User-Key-File"):
        raise BadKey("is in PuTTY's own format", "puttygen KEY.ppk -O private-openssh -o KEY")
    if re.match(r"(ssh|ecdsa|sk)-\S+ ", text):
        raise BadKey("holds the public half", "the private one has the same name without .pub")
    match = _KIND.match(text)
    if match is None:
        raise BadKey("holds no private key", "ssh-keygen -t ed25519 -N '' -f NAME makes one")
    if match[1].startswith("ENCRYPTED") or "Proc-Type: 4,ENCRYPTED" in text:
        raise BadKey(*_PASSPHRASE)
    end = f"-----END {match[1]}-----\n"
    if not text.endswith(end):
        raise BadKey(*_CUT)
    if match[1] == _OPENSSH:
        _judge(text[match.end() : -len(end)])
    return text


def _judge(body: str) -> None:
    """Refuse a key of OpenSSH's own format that is damaged or locked."""
    try:
        raw = base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error:
        raise BadKey(*_CUT) from None
    if not raw.startswith(_MAGIC):
        raise BadKey(*_CUT)
    if not raw.startswith(_MAGIC + _OPEN):
        raise BadKey(*_PASSPHRASE)
    # Cipher, derivation and its options, the number of keys; then the public and the private part.
    at = len(_MAGIC)
    for _ in range(3):
        at += 4 + int.from_bytes(raw[at : at + 4], "big")
    at += 4
    for _ in range(2):
        at += 4 + int.from_bytes(raw[at : at + 4], "big")
    if at != len(raw):
        raise BadKey(*_CUT)
