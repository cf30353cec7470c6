"""Debian packages: which are missing, and installing them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from piot_firstboot.errors import ApplyError
from piot_firstboot.notify import allow
from piot_firstboot.system import Result, System

_LOCK = 600  # seconds to wait for another apt
_INSTALL = 1800.0  # seconds for an installation, on a slow card and a slow line
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
_APT = ("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={_LOCK}")
# Configuration files that were edited stay.
_KEEP = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
# Lists that are only partly fresh must not make a package look as if there was none.
_STRICT = ("-o", "APT::Update::Error-Mode=any")
_UNKNOWN = re.compile(r"Unable to locate package|has no installation candidate|"
                      r"Couldn't find any package by")  # fmt: skip
_BROKEN = "dpkg --configure -a"  # apt's advice after a power cut in the middle of dpkg's work


class Unknown(ApplyError):
    """There is no such package, and the lists of packages are fresh."""


def missing(system: System, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the packages that are not installed, each once."""
    wanted = tuple(dict.fromkeys(names))
    if not wanted:
        return ()
    form = "${Package}\t${db:Status-Status}\n"
    shown = system.run(("dpkg-query", "--show", f"--showformat={form}", "--", *wanted))
    rows = [line.split("\t") for line in shown.out.splitlines()]
    there = {row[0] for row in rows if row[1:] == ["installed"]}
    # A name may say which architecture: foo:armhf. What is there of another is none of it.
    return tuple(name for name in wanted if name.partition(":")[0] not in there)


def install(system: System, names: Sequence[str], say: Callable[[str], None]) -> None:
    """Install packages in one go; what is there already is left as it is.

    Raises Unknown for a name that no source of packages has, ApplyError for what may pass: no
    network, another apt at work, a full disk.
    """
    say(f"installing {' '.join(names)}")
    fresh = _apt(system, *_STRICT, "update").code == 0
    result = _apt(system, *_KEEP, "install", "--", *names)
    if result.code != 0 and _BROKEN in result.err + result.out:
        say("finishing what a power cut left half installed")
        _run(system, "dpkg", "--configure", "-a", "--force-confdef", "--force-confold")
        result = _apt(system, *_KEEP, "install", "--", *names)
    if result.code == 0:
        return
    words = f"apt-get install {' '.join(names)}: {_why(result)}"
    if fresh and _UNKNOWN.search(result.err + result.out):
        raise Unknown(words, "is the name right, for this release of Debian?")
    raise ApplyError(words)


def _apt(system: System, *args: str) -> Result:
    """Run apt-get without questions."""
    return _run(system, *_APT, *args)


def _run(system: System, *argv: str) -> Result:
    """Run a command that may take long."""
    allow(_INSTALL)
    return system.run(argv, timeout=_INSTALL, env=_QUIET)


def _why(result: Result) -> str:
    """Return what apt says went wrong: its own errors rather than the last line of all."""
    text = result.err or result.out
    errors = [line[3:].strip() for line in text.splitlines() if line.startswith("E: ")]
    return errors[0] if errors else result.reason
