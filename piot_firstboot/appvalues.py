"""What the values of `[app]` may be, beyond its address."""

from __future__ import annotations

import re

from piot_firstboot import privatekey
from piot_firstboot.sshkey import authorized_key
from piot_firstboot.values import BadValue

MOST_RELEASES = 20


def manifest_path(text: str) -> str:
    """Read a path within the repository."""
    parts = text.split("/")
    if text.startswith("/") or ".." in parts or "" in parts:
        raise BadValue("this is not a path within the repository", "write it like dir/.piot.yaml")
    if ".git" in parts:
        raise BadValue("this is git's own directory")
    return text


def deploy_key(text: str) -> str:
    """Read the name of a key file on the boot partition, or a key in one line of base64.

    The key itself comes back as its file, so that it is told from a name by its lines.
    """
    if len(text) <= 100 and not text.endswith("="):
        return file_name(text)
    try:
        return privatekey.from_line(text)
    except privatekey.BadKey as error:
        if "passphrase" in str(error):
            raise BadValue(f"this key {error}", error.hint, secret=True) from None
        raise BadValue(
            "this is not a private key of OpenSSH",
            "give the name of its file on the boot partition",
            secret=True,
        ) from None


def file_name(text: str) -> str:
    """Read the name of a file that lies beside piot.conf."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}", text):
        raise BadValue(
            "this is not the name of a file on the boot partition",
            "put the file beside piot.conf and write its name, without a directory",
        )
    return text


def username(text: str) -> str:
    """Read the user name that git sends with a token."""
    if re.search(r"[\s:@/]", text) or len(text) > 100:
        raise BadValue("a user name has no blank, colon, `@` or `/` in it")
    return text


def known_host(text: str) -> str:
    """Read a line of known_hosts, sshd(8): hosts, type of key, key."""
    marker = re.match(r"(@\S+)\s+", text)
    if marker and marker[1] not in ("@cert-authority",):
        raise BadValue(f"the marker {marker[1][:30]} has no place here")
    hosts, _, key = text[marker.end() if marker else 0 :].partition(" ")
    if not key.strip():
        raise BadValue(
            "this is not a line of known_hosts", "run: ssh-keyscan HOST, and check the key"
        )
    authorized_key(key.strip())
    if not re.fullmatch(r"[!-~]+", hosts):
        raise BadValue("the names of the host have an odd character")
    return text


def keep(text: str) -> int:
    """Read how many releases stay."""
    if not text.isdecimal() or not 2 <= int(text) <= MOST_RELEASES:
        raise BadValue(
            f"this is not a number from 2 to {MOST_RELEASES}",
            "2 is the least: the one that runs, and the one to go back to",
        )
    return int(text)


def quiet(text: str) -> tuple[int, int]:
    """Read a window of the day as minutes since midnight; it may span midnight."""
    match = re.fullmatch(r"(\d{1,2}):(\d\d)\s*-\s*(\d{1,2}):(\d\d)", text)
    if not match:
        raise BadValue("this is not a window of the day", "write it like 22:00-06:00")
    hours = [int(part) for part in match.groups()]
    if hours[0] > 23 or hours[2] > 23 or hours[1] > 59 or hours[3] > 59:
        raise BadValue("there is no such time of day", "write it like 22:00-06:00")
    start, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if start == end:
        raise BadValue("this window has no length", "write it like 22:00-06:00")
    return start, end


def ring(text: str) -> str:
    """Read the name of a group of devices."""
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,30}", text):
        raise BadValue(
            "a ring is a word of lower-case letters, digits and `-`", "write it like canary"
        )
    return text
