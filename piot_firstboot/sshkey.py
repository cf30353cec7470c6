"""OpenSSH public keys, as a line of authorized_keys holds them (sshd(8), AUTHORIZED_KEYS FILE)."""

from __future__ import annotations

import base64
import binascii
import re

from piot_firstboot.values import BadValue, suggest

# What follows the type in the key's data, RFC 4253, 5656, 8709 and OpenSSH's PROTOCOL.u2f: a
# number gives a field's length in bytes, a text its content, None any length.
_FIELDS: dict[str, tuple[int | str | None, ...]] = {
    "ssh-ed25519": (32,),
    "ssh-rsa": (None, None),
    "ecdsa-sha2-nistp256": ("nistp256", 65),
    "ecdsa-sha2-nistp384": ("nistp384", 97),
    "ecdsa-sha2-nistp521": ("nistp521", 133),
    "sk-ssh-ed25519@openssh.com": (32, None),
    "sk-ecdsa-sha2-nistp256@openssh.com": ("nistp256", 65, None),
}
_FLAGS = frozenset(
    "agent-forwarding cert-authority no-agent-forwarding no-port-forwarding no-pty no-user-rc "
    "no-x11-forwarding no-touch-required port-forwarding pty restrict user-rc verify-required "
    "x11-forwarding".split()
)
_VALUED = frozenset(
    "command environment expiry-time from permitlisten permitopen principals tunnel".split()
)
# One option: a name, maybe a quoted value in which `\"` is a quote.
_OPTION = re.compile(r'([A-Za-z0-9-]+)(="(?:[^"\\]|\\.)*")?(,|[ \t]+)')
_MIN_RSA = 1024  # bits; sshd refuses less (RequiredRSASize)
_PUB = "paste the one line of the file that ends in .pub"


def authorized_key(text: str) -> str:
    """Read one public key with its options and comment; the line is kept as it stands.

    A key that sshd would silently skip is refused, because that would lock its owner out.
    """
    _refuse_other_things(text)
    rest = text
    if rest.split(None, 1)[0] not in _FIELDS:
        rest = _skip_options(text)
    words = rest.split(None, 2)
    kind = words[0] if words else ""
    if kind not in _FIELDS:
        raise _unknown_type(kind)
    if len(words) < 2:
        raise BadValue("the key itself is missing after its type", _PUB)
    try:
        data = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise BadValue("the key is damaged: it is not base64", _PUB) from None
    _check_data(kind, data)
    return text


def bare(line: str) -> str:
    """Return type and key of a line that `authorized_key` accepted, without options and comment."""
    rest = line if line.split(None, 1)[0] in _FIELDS else _skip_options(line)
    return " ".join(rest.split(None, 2)[:2])


def _refuse_other_things(text: str) -> None:
    """Name what is often pasted in place of a public key."""
    if "PRIVATE KEY" in text or "PuTTY-User-Key-File" in text:
        raise BadValue("this is a private key, which must never leave its owner", _PUB, secret=True)
    if "BEGIN SSH2 PUBLIC KEY" in text or text.startswith("-----BEGIN"):
        raise BadValue(
            "this key is not in OpenSSH's format", "convert it: ssh-keygen -i -f FILE.pub"
        )
    if re.match(r"(~|\.{0,2}/|[A-Za-z]:\\)", text) or re.fullmatch(r"\S+\.pub", text):
        raise BadValue("this is the path of a file, not a key", _PUB)
    if re.match(r"(SHA256|MD5):", text):
        raise BadValue("this is the fingerprint of a key, not the key", _PUB)


def _skip_options(text: str) -> str:
    """Check the options before the key and return what follows them."""
    at = 0
    while True:
        match = _OPTION.match(text, at)
        if not match:
            raise _unknown_type(text.split(None, 1)[0])
        name, value = match[1].lower(), match[2]
        if name not in (_VALUED if value else _FLAGS):
            if name in _VALUED | _FLAGS:
                wrong = "takes no value" if value else 'needs a value in double quotes: ="…"'
                raise BadValue(f"the option {name} {wrong}")
            if at == 0 and not value and match[3] != ",":
                raise _unknown_type(match[1])
            best = suggest(name, _VALUED | _FLAGS)
            hint = f"did you mean {best}?" if best else "see sshd(8), AUTHORIZED_KEYS FILE FORMAT"
            raise BadValue(f"sshd knows no option {name[:40]}", hint)
        at = match.end()
        if match[3] != ",":
            return text[at:]


def _unknown_type(kind: str) -> BadValue:
    """Say that a line does not begin like a key."""
    if kind == "ssh-dss":
        return BadValue("sshd no longer takes DSA keys", "make a new one: ssh-keygen -t ed25519")
    if kind.endswith("-cert-v01@openssh.com"):
        return BadValue("this is a certificate, not a public key", _PUB)
    best = suggest(kind, _FIELDS)
    return BadValue(
        "this is not an OpenSSH public key such as `ssh-ed25519 AAAA… name`",
        f"did you mean {best}?" if best else _PUB,
    )


def _check_data(kind: str, data: bytes) -> None:
    """Hold the key's data against its type: every field there, and nothing after the last."""
    fields = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        fields.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(data) or not fields:
        raise BadValue("the key is incomplete: part of it was not copied", _PUB)
    inner = fields.pop(0).decode("ascii", "replace")
    if inner != kind:
        other = f"of type {inner}" if inner in _FIELDS else "of another type"
        raise BadValue(f"the line says {kind}, but the key in it is {other}", _PUB)
    wanted = _FIELDS[kind]
    good = len(fields) == len(wanted) and all(
        need is None or (field == need.encode() if isinstance(need, str) else len(field) == need)
        for field, need in zip(fields, wanted, strict=True)
    )
    if not good:
        raise BadValue("the key is incomplete: part of it was not copied", _PUB)
    if kind == "ssh-rsa" and int.from_bytes(fields[1], "big").bit_length() < _MIN_RSA:
        raise BadValue(
            f"sshd refuses RSA keys of less than {_MIN_RSA} bits",
            "make a new one: ssh-keygen -t ed25519",
        )
