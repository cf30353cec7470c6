"""The types of values that say what a unit needs: ports, sizes, devices, globs, patterns.

Text in, a value out, ValueError(message, hint) otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar

from piot_firstboot import appvalues, systemvalues
from piot_firstboot.values import BadValue
from piot_firstboot.yamlvalues import did_you_mean, secret_name, shown

T = TypeVar("T")

# What a name under `needs: devices:` opens: render/devices.py.
DEVICES = ("camera", "gpio", "i2c", "spi", "serial", "audio", "video", "input", "usb")
# Signals that a program can take for a call to read its files again: signal(7).
SIGNALS = ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH")
PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

_SIZES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)\s*([KMG])(?:iB|B)?")
_LEAST_MEMORY, _MOST_MEMORY = 4 << 20, 64 << 30
_CPU = re.compile(r"([0-9]{1,5}(?:\.[0-9]{1,2})?)\s*%")
# Debian Policy Manual, 5.6.1, with apt's own `:arch` and `=version`.
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?(?:=[A-Za-z0-9.+:~-]+)?")
# How the names of device nodes begin, for those who leave out the directory.
_NODE = re.compile(
    r"(?:tty|video|media|sd[a-z]|hidraw|i2c-|spidev|gpiochip|snd/|input/|serial/)[\w/]"
)
_MAX_PATTERN = 500
_NESTED = re.compile(r"\([^()]*[+*][^()]*\)[+*{]")


def port(text: str) -> int:
    """Read a port."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 0 < int(text) < 65536:
        raise ValueError(f"{shown(text)} is not a port, a number from 1 to 65535")
    return int(text)


def memory(text: str) -> int:
    """Read an amount of memory, in bytes; K, M and G count in steps of 1024."""
    match = _SIZE.fullmatch(text)
    if not match:
        hint = f"did you mean {text}M?" if re.fullmatch(r"[0-9]{1,5}", text) else ""
        if re.fullmatch(r"[0-9.]+\s*[kmg](?:i?b)?", text):
            hint = f"did you mean {re.sub('[^0-9.kmg]|(?<=[kmg])b', '', text).upper()}?"
        raise ValueError(f"{shown(text)} is not an amount such as 128M or 1G", hint)
    size = round(float(match[1]) * _SIZES[match[2]])
    if not _LEAST_MEMORY <= size <= _MOST_MEMORY:
        raise ValueError(f"{text} is out of range, 4M to 64G")
    return size


def cpu(text: str) -> float:
    """Read a share of one core, in percent."""
    match = _CPU.fullmatch(text)
    if not match:
        hint = f"did you mean {text}%?" if re.fullmatch(r"[1-9][0-9]{0,3}", text) else ""
        raise ValueError(f"{shown(text)} is not a share such as 50%; 100% is one core", hint)
    if not 1 <= float(match[1]) <= 12800:
        raise ValueError(f"{text} is out of range, 1% to 12800%")
    return float(match[1])


def device(text: str) -> str:
    """Read a kind of device, or the path of one."""
    if text.startswith("/"):
        if not text.startswith("/dev/") or not _clean(text) or not text.removeprefix("/dev/"):
            raise ValueError(f"{shown(text)} is not a path below /dev")
        if re.search(r"[\s*?\[\]%\"'\\:$]", text):
            raise ValueError(
                f"{shown(text)} names no single device",
                "a path has no blanks, quotes or wildcards; see ls -l /dev/serial/by-id",
            )
        return text
    if text not in DEVICES:
        close = did_you_mean(text, DEVICES)
        if _NODE.match(text):
            close = f"did you mean /dev/{text}?"
        raise ValueError(
            f"there is no kind of device {shown(text)}",
            close or f"known: {' '.join(DEVICES)}, or a path below /dev",
        )
    return text


def package(text: str) -> str:
    """Read the name of a Debian package."""
    if not _PACKAGE.fullmatch(text) or len(text) > 200:
        raise ValueError(
            f"{shown(text)} is not the name of a Debian package", "write it like python3-numpy"
        )
    return text


def requirement(text: str) -> str:
    """Read one line as pip reads them; what it can mean is pip's to judge."""
    if not text.strip() or "\n" in text or not text.isprintable():
        raise ValueError("a requirement is one line, such as requests>=2.28")
    if text.startswith("#"):
        raise ValueError(f"{shown(text)} is a comment")
    if text.startswith("-") and not text.startswith("--hash"):
        raise ValueError(
            f"{shown(text)} is an option of pip", "put options into a requirements.txt"
        )
    return text.strip()


def requirements_file(text: str) -> str:
    """Read the path of a requirements file or of a pyproject.toml inside the release."""
    path = inside(text)
    name = path.rpartition("/")[2]
    if name != "pyproject.toml" and not name.endswith((".txt", ".in")):
        raise ValueError(
            f"{shown(text)} is neither a requirements.txt nor a pyproject.toml",
            f"for a package write [{text}]" if re.fullmatch(r"[A-Za-z0-9._-]+", text) else "",
        )
    return path


def inside(text: str) -> str:
    """Read the path of a file inside the release."""
    if text.startswith("/"):
        raise ValueError(f"{shown(text)} is absolute", "name a file inside the repository")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{shown(text)} leads out of the release with ..")
    if not parts or text.endswith("/") or any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):
        raise ValueError(f"{shown(text)} is not a file")
    return "/".join(parts)


def watched(text: str) -> str:
    """Read a glob of files inside the release; `**` stands for any number of directories."""
    if text.startswith("!"):
        raise ValueError(f"{shown(text)} excludes files, which watch cannot do")
    if text.startswith("/"):
        raise ValueError(f"{shown(text)} is absolute", "name files inside the repository")
    path = glob(text.rstrip("/"))
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{shown(text)} leads out of the release with ..")
    if any("**" in part and part != "**" for part in parts):
        raise ValueError(f"{shown(text)}: ** stands for whole directories", "write it like web/**")
    return "/".join(parts)


def glob(text: str) -> str:
    """Read a glob: `*`, `?` and `[…]`."""
    if not text.strip() or len(text) > 200 or not text.isprintable():
        raise ValueError(f"{shown(text)} is not a pattern such as pi-*")
    if re.search(r"\[(?![!]?.[^\]]*\])", text):
        raise ValueError(
            f"{shown(text)}: a [ is never closed", "write [[] for the character itself"
        )
    return text


def pattern(text: str) -> str:
    """Read a regular expression."""
    if not text.strip() or len(text) > _MAX_PATTERN or "\n" in text:
        raise ValueError(f"a pattern is one line of at most {_MAX_PATTERN} characters")
    try:
        found = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        said = error.msg if isinstance(error, re.error) else str(error)
        hint = "a backslash makes the next character an ordinary one"
        raise ValueError(f"{shown(text)} is not a regular expression: {said}", hint) from None
    if found.match(""):
        raise ValueError(f"{shown(text)} matches every message")
    if _NESTED.search(text):
        # It could take longer than the age of the universe for one line of the journal.
        raise ValueError(f"{shown(text)} repeats a repetition", "one + or * is enough")
    return text


def signal(text: str) -> str:
    """Read a signal that makes a program read its files again."""
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    if name in ("SIGTERM", "SIGKILL", "SIGINT", "SIGQUIT", "SIGABRT", "SIGSTOP"):
        raise ValueError(f"{name} ends a program", "leave reload out: a restart is the default")
    if name not in SIGNALS:
        raise ValueError(f"{shown(text)} is none of {', '.join(SIGNALS)}")
    return name


def window(text: str) -> tuple[int, int]:
    """Read a window of the day, as piot.conf spells it."""
    return _as_in_conf(appvalues.quiet, text)


def ring(text: str) -> str:
    """Read the name of a ring, as piot.conf spells it."""
    return _as_in_conf(appvalues.ring, text)


def role(text: str) -> str:
    """Read the name of a role, as piot.conf spells it."""
    return _as_in_conf(systemvalues.role, text)


def _as_in_conf(parse: Callable[[str], T], text: str) -> T:
    """Read a value by piot.conf's own rule, and say so in this file's words."""
    try:
        return parse(text)
    except BadValue as error:
        raise ValueError(f"{shown(text)}: {error}", error.hint) from None


def ping(text: str) -> str:
    """Read an https address that is told of each run, or the name of a secret that holds one."""
    if "://" not in text:
        return secret_name(text)
    if text.startswith("http://"):
        raise ValueError(f"{shown(text)} travels in the clear", "use https://")
    if not re.fullmatch(r"https://[A-Za-z0-9._-]+(?::[0-9]{1,5})?/[!-~]*", text):
        hint = "write it like https://hc-ping.com/…, or name a secret that holds the address"
        raise ValueError(f"{shown(text)} is not an https address", hint)
    return text


def _clean(path: str) -> bool:
    """Tell whether a path has no empty, `.` or `..` part."""
    return not {"", ".", ".."} & set(path[1:].split("/")) and path.isprintable()
