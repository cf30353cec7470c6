"""What the values of `[device]`, `[time]` and `[update]` may be, beyond names."""

from __future__ import annotations

import ipaddress
import re

from piot_firstboot.values import BadValue, suggest

_MOST_LABEL = 63  # characters of a name and of a value

# Language, territory, codeset, modifier: setlocale(3).
_LOCALE = re.compile(
    r"(?P<base>[a-z]{2,3}(?:_[A-Z]{2})?|C)(?:\.(?P<codeset>[A-Za-z0-9-]+))?(?P<at>@[a-z]+)?"
)
_LOOSE_LOCALE = re.compile(r"([A-Za-z]{2,3})[-_ ]?([A-Za-z]{2})?(?:\.?[Uu][Tt][Ff]-?8)?")
_KEYBOARD = re.compile(r"(?P<layout>[a-z]{2,10})(?:\s+(?P<variant>[A-Za-z0-9_-]{1,40}))?")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
# Debian Policy, 5.6.1; the name of an architecture may follow.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9-]+)?")
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,30}")
_LABEL = re.compile(r"[a-z](?:[a-z0-9_.-]*[a-z0-9])?")


def locale(text: str) -> str:
    """Read the name of a UTF-8 locale, in the spelling of Debian: de_DE.UTF-8."""
    match = _LOCALE.fullmatch(text)
    if not match:
        parts = _LOOSE_LOCALE.fullmatch(text)
        language = parts[1].lower() if parts else ""
        country = (parts[2] or (language if len(language) == 2 else "")).upper() if parts else ""
        raise BadValue(
            "this is not the name of a locale",
            f"did you mean {language}_{country}.UTF-8?" if country else "write it as de_DE.UTF-8",
        )
    base, codeset, at = match["base"], match["codeset"] or "", match["at"] or ""
    full = f"{base}.UTF-8{at}"
    if codeset.lower().replace("-", "") != "utf8":
        what = f"the codeset {codeset[:20]} is not UTF-8" if codeset else "the codeset is missing"
        raise BadValue(what, f"write {full}")
    return full


def keyboard(text: str) -> str:
    """Read a layout of xkeyboard-config(7), or a layout and a variant: `de`, `us intl`."""
    match = _KEYBOARD.fullmatch(text)
    if not match:
        better = re.sub(r"[\s,:/()]+", " ", text.lower()).strip()
        raise BadValue(
            "this is not a keyboard layout",
            f"did you mean {better}?"
            if _KEYBOARD.fullmatch(better)
            else "write the layout, such as de, or layout and variant, such as us intl",
        )
    return " ".join(part for part in match.groups() if part)


def role(text: str) -> str:
    """Read what the device is among others: a word."""
    if not _ROLE.fullmatch(text):
        raise BadValue(
            "a role is a word of lower-case letters, digits and `-`, of at most 31 characters",
            "write it like gateway",
        )
    return text


def label(text: str) -> tuple[str, str]:
    """Read `name=value`."""
    name, sign, value = (part.strip() for part in text.partition("="))
    if not sign or not name or not value:
        raise BadValue("a label is a name and a value", "write it like room=kitchen")
    if not _LABEL.fullmatch(name) or len(name) > _MOST_LABEL:
        lower = name.lower().replace(" ", "-")
        raise BadValue(
            "the name of a label has lower-case letters, digits, `-`, `_` and `.`, begins with a "
            f"letter and has at most {_MOST_LABEL} characters",
            f"write {lower}={value[:60]}" if _LABEL.fullmatch(lower) and lower != name else "",
        )
    if len(value) > _MOST_LABEL:
        raise BadValue(f"the value of a label has at most {_MOST_LABEL} characters")
    return name, value


def ntp_server(text: str) -> str:
    """Read the name or address of a time server."""
    if re.search(r"[\s,;]", text):
        raise BadValue("this is more than one server", "write a line ntp = … for each")
    if "/" in text:
        raise BadValue("a time server is a name or an address", "leave out all but that")
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        pass
    host, _, port = text.rpartition(":")
    if host and port.isdecimal():
        raise BadValue("a time server answers at one port, 123", f"write {host[:60]}")
    labels = text.removesuffix(".").split(".")
    if len(text) > 253 or not all(map(_HOST.fullmatch, labels)) or labels[-1].isdecimal():
        raise BadValue(
            "this is neither a host name nor an address", "write it like time.example.org"
        )
    return text.lower()


def system_updates(text: str) -> str:
    """Read which updates of the system are installed: off, security or all."""
    word = text.lower()
    if word in ("off", "security", "all"):
        return word
    best = "off" if word in ("no", "none", "false", "0") else suggest(text, ("security", "all"))
    raise BadValue("this is not off, security or all", f"write {best}" if best else "")


def reboot(text: str) -> str:
    """Read whether the device restarts when an update asks for it: never or if-needed."""
    word = text.lower()
    if word in ("never", "if-needed"):
        return word
    best = "if-needed" if word in ("yes", "on", "true", "1", "if needed", "always") else ""
    best = best or ("never" if word in ("no", "off", "false", "0") else "")
    raise BadValue("this is not never or if-needed", f"write {best}" if best else "")


def package(text: str) -> str:
    """Read the name of a Debian package."""
    if re.search(r"[\s,;]", text):
        raise BadValue("this is more than one package", "write a line packages = … for each")
    name, sign, _ = text.partition("=")
    if sign and _PACKAGE.fullmatch(name):
        raise BadValue("no version can be asked for", f"write {name}")
    if not _PACKAGE.fullmatch(text):
        lower = text.lower()
        raise BadValue(
            "the name of a package has lower-case letters, digits, `+`, `-` and `.`",
            f"did you mean {lower}?" if _PACKAGE.fullmatch(lower) else "",
        )
    if text.endswith("-") or (text.endswith("+") and not text.endswith("++")):
        # To apt-get `vim-` means: remove vim. Names like g++ are packages, though.
        raise BadValue(f"apt takes the {text[-1]} at the end for an order", f"write {text[:-1]}")
    return text
