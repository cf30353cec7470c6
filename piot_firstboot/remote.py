"""Where an app comes from: the address of its repository, the ref in it, and the app's name."""

from __future__ import annotations

import re

from piot_firstboot.values import BadValue, suggest

SCHEMES = ("https", "http", "ssh", "git", "file")
# The user piot-NAME must fit into 32 characters, with room for one more hyphen.
MAX_NAME = 26
# piot-NAME.target and piot-NAME-… would be read as PioT's own units.
RESERVED = frozenset(
    "deploy firstboot setup health bootguard alert status device retry due finish usb peers".split()
)

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_]|-(?!-))*(?<!-)")
_HOST = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)"
_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_URL = re.compile(rf"(?:{_USER}@)?{_HOST}(?::(?P<port>[0-9]{{1,5}}))?/(?P<path>.+)")
_SCP = re.compile(rf"(?:{_USER}@)?{_HOST}:(?P<path>[^-:].*)")


def repo(text: str) -> str:
    """Read the address of a repository: a URL, git@host:path, or a path to one or to a bundle.

    Transports that run commands (`ext::`) are refused, and so are passwords and tokens in a URL:
    they would show in process lists, logs and `git remote -v`.
    """
    if text.startswith("-"):
        raise BadValue("an address does not begin with a hyphen")
    if "::" in text.partition("/")[0] and not re.match(rf"(?:{_USER}@)?\[", text):
        transport = re.match(r"\w*", text)
        name = transport[0][:20] if transport else ""
        raise BadValue(f"the transport {name}:: is not allowed", f"use {_listed(SCHEMES)}")
    if re.match(r"[^/@]*:[^/@]*@", text):
        raise _credentials()
    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise BadValue("an address has no blanks in it", "write a blank in a URL as %20")
    scheme, separator, rest = text.partition("://")
    if separator:
        return _url(text, scheme, rest)
    if text.startswith("/"):
        return _path(text)
    if re.match(r"[A-Za-z]:[\\/]", text) or "\\" in text:
        raise BadValue("this is a path on Windows", "give an address that the device can reach")
    if ":" in text.partition("/")[0]:
        if _SCP.fullmatch(text):
            return text
        raise BadValue("this is not an address like git@host:path")
    if text.endswith(".bundle"):
        # A relative path names a bundle on the boot partition.
        return _path(text)
    if re.match(r"(www\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+/.", text) and "@" not in text:
        raise BadValue("the address does not say how to reach it", f"write https://{text}")
    raise BadValue("this is not the address of a repository", "write https://host/path.git")


def _url(text: str, scheme: str, rest: str) -> str:
    """Judge a URL."""
    if scheme not in SCHEMES:
        best = suggest(scheme, SCHEMES)
        hint = f"did you mean {best}://?" if best else f"use {_listed(SCHEMES)}"
        raise BadValue("git has no such kind of address here", hint)
    # A password with a `/` in it stands where host and port should.
    authority = rest.partition("/")[0]
    user, at, _ = authority.rpartition("@")
    port = authority.rpartition(":")[2]
    slash = not at and "@" in rest and ":" in authority and not re.fullmatch(r"[0-9]*\]?", port)
    if scheme != "file" and (slash or ":" in user or (at and scheme != "ssh")):
        raise _credentials()
    if scheme == "file":
        if not rest.startswith("/"):
            raise BadValue("a file URL has an absolute path", f"write file:///{rest[:60]}")
        _path(rest)
        return text
    match = _URL.fullmatch(rest)
    if not match or not match["path"].strip("/"):
        raise BadValue(f"this URL needs a host and a path, as {scheme}://host/path.git")
    if match["port"] and not 0 < int(match["port"]) < 65536:
        raise BadValue("a port is a number from 1 to 65535")
    return text


def _path(text: str) -> str:
    """Judge a path on the device."""
    if ".." in text.split("/"):
        raise BadValue("this path must not have .. in it")
    if not text.strip("/"):
        raise BadValue("this path names no repository")
    return text


def _credentials() -> BadValue:
    """Say why a password in an address is refused, without showing it."""
    return BadValue(
        "the address holds a user name or password, which would show in logs",
        "leave out all before the @; a private repository is reached with git@host:path",
        secret=True,
    )


def _listed(schemes: tuple[str, ...]) -> str:
    """Join schemes for a hint."""
    return " ".join(f"{scheme}://" for scheme in schemes)


def ref(text: str) -> str:
    """Read a branch, tag or commit, by the rules of git-check-ref-format(1)."""
    wrong = ""
    odd = re.search(r"[\x00-\x20\x7f~^:?*\[\\]", text)
    if odd:
        wrong = "a blank" if odd[0].isspace() else f"`{odd[0]}`" if odd[0] > " " else "that"
        wrong = f"have {wrong} in it"
    elif text.startswith("-"):
        wrong = "begin with a hyphen"
    elif ".." in text or "@{" in text:
        wrong = "have `..` or `@{` in it"
    elif text.startswith("/") or text.endswith("/") or "//" in text:
        wrong = "have a `/` at its end or two together"
    elif text.endswith(".") or text == "@":
        wrong = "end in a dot or be just `@`"
    elif any(part.startswith(".") or part.endswith(".lock") for part in text.split("/")):
        wrong = "have a part that begins with a dot or ends in `.lock`"
    elif len(text.encode()) > 200:
        wrong = "be longer than 200 characters"
    if wrong:
        raise BadValue(f"a ref must not {wrong}", "name a branch, a tag or a commit")
    return text


_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}


def endpoint(address: str) -> tuple[str, int] | None:
    """Return host and port of the server that holds a repository; None for one on the device."""
    scheme, separator, rest = address.partition("://")
    if separator and scheme in _PORTS:
        place = rest.partition("/")[0].rpartition("@")[2]
        match = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::([0-9]+))?", place)
        return (match[1].strip("[]"), int(match[2] or _PORTS[scheme])) if match else None
    if not separator and not address.startswith("/") and ":" in address:
        scp = re.match(r"(?:[^@/]*@)?(\[[^]]*\]|[^:]*):", address)
        return (scp[1].strip("[]"), _PORTS["ssh"]) if scp else None
    return None


def app_name(text: str) -> str:
    """Read the name of an app; its units, user and directories carry it."""
    if text in RESERVED or text.startswith("device-"):
        raise BadValue(f"{text[:30]} is a name that PioT itself uses", "choose another name")
    if len(text) > MAX_NAME:
        raise BadValue(f"an app's name has at most {MAX_NAME} characters, this one {len(text)}")
    if not _NAME.fullmatch(text):
        better = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-_")
        raise BadValue(
            "an app's name has lower-case letters, digits, `-` and `_`, begins with a letter or "
            "digit, and has no `-` at its end or twice in a row",
            f"did you mean {better}?" if better and _NAME.fullmatch(better) else "",
        )
    return text


def name_from(address: str) -> str:
    """Take an app's name from the last part of its repository's address; BadValue if none fits."""
    last = re.split(r"[/:]", address.rstrip("/"))[-1]
    name = re.sub(r"\.(git|bundle)$", "", last)
    try:
        return app_name(name)
    except BadValue:
        return app_name(name.lower())
