"""What a failure says about a commit: the one table of errors that are the surroundings' fault.

Deterministic failures (a wrong manifest, a build that fails, a crash, bad health) are final for
their commit. Those of the surroundings pass, and the commit is tried again. When in doubt before
anything was touched, it was the surroundings: to try again costs the device a fetch. After the
switch it was the commit: to try again would cost the app its uptime.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from piot_firstboot.errors import ConfigError

MOST_SWITCHES = 3  # times that a commit may fail on the device before that is called its own fault


@dataclass(frozen=True, slots=True)
class Cause:
    """Why something failed: `kind` in a word, whether that is final, and what a person can do."""

    kind: str
    final: bool
    hint: str = ""


_FULL = "make room: see `df -h` and `df -i`; PioT keeps less when less is free"
# kind, error numbers, what programs print, advice. The first that fits counts: a file system that
# is full, failing or read-only explains whatever else went wrong.
_TABLE: tuple[tuple[str, frozenset[int], str, str], ...] = (
    (
        "disk full",
        frozenset({errno.ENOSPC, errno.EDQUOT}),
        r"No space left on device|Disk quota exceeded|ENOSPC|enough free space",
        _FULL,
    ),
    (
        "disk failing",
        frozenset({errno.EIO, errno.EUCLEAN}),
        r"Input/output error|Structure needs cleaning|\bEIO\b",
        "save what you need and replace the card: see `journalctl -k -p err`",
    ),
    (
        "disk read-only",
        frozenset({errno.EROFS}),
        r"Read-only file system|\bEROFS\b",
        "the kernel or an overlay made it so: see `journalctl -k -p err` and `findmnt /`",
    ),
    (
        "memory",
        frozenset({errno.ENOMEM, errno.EAGAIN}),
        r"Cannot allocate memory|Out of memory|MemoryError|\boom-kill\b|bad_alloc",
        "something on the device needs more memory than there is: see `journalctl -k -g oom`",
    ),
    (
        "package lock",
        frozenset(),
        r"Could not get lock|Unable to acquire the dpkg|Unable to lock|dpkg was interrupted",
        "another program installs packages: see `systemctl list-units 'apt*'`",
    ),
    (
        "clock",
        frozenset(),
        r"not yet valid|not valid yet|not activated|activation date|has expired|"
        r"expiration date|(certificate|server) verification failed",
        "is the clock right? see `timedatectl`",
    ),
    (
        "DNS",
        frozenset(),
        r"Could not resolve|name resolution|Name or service not known|failure resolving|"
        r"getaddrinfo|EAI_AGAIN|ENOTFOUND",
        "is there a network, and DNS? see `resolvectl` or /etc/resolv.conf",
    ),
    (
        "network",
        frozenset(
            {
                errno.ENETUNREACH,
                errno.ENETDOWN,
                errno.EHOSTUNREACH,
                errno.ECONNREFUSED,
                errno.ECONNRESET,
                errno.ETIMEDOUT,
            }
        ),
        r"Failed to connect|Couldn't connect|Connection (timed out|refused|reset|closed)|"
        r"Network is unreachable|No route to host|too slow|hung up|early EOF|RPC failed|"
        r"unexpected disconnect|invalid index-pack|Failed to fetch|Read timed out|"
        r"ECONNRE(SET|FUSED)|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|(NewConnection|ReadTimeout|ConnectTimeout)Error|"
        r"Retrying \(Retry\(",
        "is the server up, and reachable from here?",
    ),
)
_LIMIT = "does it need more than `memory` in .piot.yaml gives it?"
# What explains a crash although its release is good: the network was there a moment ago.
_OF_THE_DEVICE = ("disk full", "disk failing", "disk read-only", "memory")


def before_switch(error: Exception, *, final: bool) -> Cause:
    """Judge what failed before anything was touched.

    `final` tells whether the commit is to blame unless the error names something else.
    """
    if isinstance(error, ConfigError):
        return Cause("manifest", True)
    return _named(error, str(error)) or Cause("commit" if final else "device", final)


def after_switch(error: Exception, lines: tuple[str, ...] = (), *, limited: bool = False) -> Cause:
    """Judge what failed once the release was switched to; `lines` is what its unit said last.

    With `limited`, its memory has a limit of its own, and running out of that is its own fault.
    """
    cause = _named(error, "\n".join([str(error), *lines]))
    if cause and cause.kind in _OF_THE_DEVICE and not (limited and cause.kind == "memory"):
        return cause
    if isinstance(error, OSError):
        return cause or Cause("device", False)
    return Cause("health", True, _LIMIT if cause and cause.kind == "memory" else "")


def passing(words: str) -> bool:
    """Tell whether what a program printed names something that passes, and no fault of a commit."""
    return any(re.search(signs, words) for _, _, signs, _ in _TABLE)


def _named(error: Exception, words: str) -> Cause | None:
    """Find the first row of the table that an error number or the words name."""
    number = error.errno if isinstance(error, OSError) else None
    for kind, numbers, signs, hint in _TABLE:
        if number in numbers or re.search(signs, words):
            return Cause(kind, False, hint)
    return None
