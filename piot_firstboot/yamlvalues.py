"""The types of a manifest's values: text in, a value out, ValueError in words otherwise."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable

from piot_firstboot.command import MAX_WORD
from piot_firstboot.remote import RESERVED
from piot_firstboot.schedule import format_span, span_seconds

_TRUE = frozenset(("true", "yes", "on"))
_FALSE = frozenset(("false", "no", "off"))
_UNIT = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
# systemd refuses a slice with an empty part (`piot-a--b.slice`, `piot-a-.slice`), and Linux a user
# name of more than 31 characters, five of which are `piot-`: systemd.slice(5), sysusers.d(5).
_APP = re.compile(r"[a-z0-9_]+(?:-[a-z0-9_]+)*")
MAX_APP = 26
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Set by systemd for every unit; another value would only mislead the program: systemd.exec(5).
_SYSTEMDS = frozenset(
    (
        *("STATE_DIRECTORY", "CACHE_DIRECTORY", "RUNTIME_DIRECTORY", "CREDENTIALS_DIRECTORY"),
        *("INVOCATION_ID", "JOURNAL_STREAM", "LISTEN_FDS", "LISTEN_PID"),
        *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"),
    )
)
_URL = re.compile(
    r"https?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(?:[/?][!-~]*)?"
)
_HOST_PORT = re.compile(r"(?:([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):)?([0-9]{1,5})")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest known word, or nothing."""
    close = difflib.get_close_matches(word.lower(), list(known), 1, 0.6)
    return f"did you mean {close[0]}?" if close else ""


def version(text: str) -> int:
    """Accept the schema's version."""
    if text != "1":
        raise ValueError(f"{shown(text)} is not a version this PioT knows", "write piot: 1")
    return 1


def flag(text: str) -> bool:
    """Read yes/no, true/false, on/off."""
    lowered = text.lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError(f"{shown(text)} is neither true nor false")
    return lowered in _TRUE


def choice(*words: str) -> Callable[[str], str]:
    """Make a reader of one of these words."""

    def parse(text: str) -> str:
        if text not in words:
            hint = did_you_mean(text, words)
            raise ValueError(f"{shown(text)} is none of {', '.join(words)}", hint)
        return text

    return parse


def ready(text: str) -> bool:
    """Read `notify: ready`."""
    if text != "ready":
        raise ValueError(f"{shown(text)} is unknown; write ready", "leave notify out for none")
    return True


def span(least: float, most: float) -> Callable[[str], float]:
    """Make a reader of a time span within these bounds, in seconds."""

    def parse(text: str) -> float:
        seconds = span_seconds(text)
        if not least <= seconds <= most:
            limits = f"{format_span(least)} to {format_span(most)}"
            raise ValueError(f"{text} is out of range, {limits}")
        return seconds

    return parse


def count(least: int, most: int) -> Callable[[str], int]:
    """Make a reader of a whole number within these bounds."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"{shown(text)} is not a whole number from {least} to {most}")
        return int(text)

    return parse


def unit_name(text: str) -> str:
    """Read the name of a service or job."""
    if not _UNIT.fullmatch(text):
        better = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:40]
        raise ValueError(
            f"{shown(text)} is not a name: lower-case letters, digits, - and _, at most 40",
            f"did you mean {better}?" if better else "",
        )
    return text


def app_name(text: str) -> str:
    """Read the name of an app."""
    if not _APP.fullmatch(text) or len(text) > MAX_APP:
        better = re.sub(r"[^a-z0-9_]+", "-", text.lower()).strip("-")[:MAX_APP].rstrip("-")
        raise ValueError(
            f"{shown(text)} is not an app's name: lower-case letters, digits, _ and single -,"
            f" at most {MAX_APP}",
            f"did you mean {better}?" if better else "",
        )
    if text in RESERVED:
        raise ValueError(f"piot-{text} is the name of a unit of PioT's own")
    return text


def env_name(text: str) -> str:
    """Read the name of an environment variable."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} is not the name of a variable: letters, digits and _")
    if text.startswith("PIOT_") or text in _SYSTEMDS:
        raise ValueError(f"{text} is set by {'PioT' if text.startswith('PIOT_') else 'systemd'}")
    return text


def env_value(text: str) -> str:
    """Read the value of an environment variable: any text that a process can be given."""
    if "\0" in text:
        raise ValueError("a value cannot contain a NUL character")
    if len(text.encode()) > MAX_WORD - 256:
        raise ValueError("a value is longer than 128 KiB")
    return text


def secret_name(text: str) -> str:
    """Read the name of a secret."""
    if not _NAME.fullmatch(text) or len(text) > 200:
        raise ValueError(f"{shown(text)} is not the name of a secret: letters, digits and _")
    return text


def directory(text: str) -> str:
    """Read a directory inside the release; the release itself is the empty text."""
    if text.startswith("/"):
        raise ValueError(f"{shown(text)} is absolute", "name a directory inside the repository")
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{shown(text)} leads out of the release with ..")
    if text != text.strip() or text.endswith("\\"):
        # systemd strips the one and joins the next line because of the other.
        hint = "rename the directory"
        raise ValueError(f"{shown(text)} begins or ends with what systemd takes away", hint)
    if not text or any(ord(c) < 0x20 or ord(c) == 0x7F for c in text):
        raise ValueError(f"{shown(text)} is not a directory")
    return "/".join(parts)


def url(text: str) -> str:
    """Read the address of an HTTP health probe."""
    match = _URL.fullmatch(text)
    if not match or (match[1] and not 0 < int(match[1]) < 65536):
        hint = "write it like http://localhost:8080/healthz"
        raise ValueError(f"{shown(text)} is not an http or https address", hint)
    return text


def endpoint(text: str) -> str:
    """Read a port, or host:port, of a TCP health probe; returns host:port."""
    match = _HOST_PORT.fullmatch(text)
    if not match or not 0 < int(match[2]) < 65536:
        raise ValueError(f"{shown(text)} is neither a port nor host:port", "write it like 8080")
    return f"{match[1] or 'localhost'}:{int(match[2])}"


def shown(text: str) -> str:
    """Quote a value for a message, shortened, on one line."""
    clean = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return f'"{clean[:60]}…"' if len(clean) > 60 else f'"{clean}"'
