"""Debian packages: which are missing, and installing them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from piot_firstboot.errors import ApplyError
from piot_firstboot.notify import allow, progress
from piot_firstboot.system import Result, System

_LOCK = 900  # seconds to wait for another apt: more than ten minutes, as an upgrade may take
_INSTALL = 1800.0  # seconds for an installation, on a slow card and a slow line
_TURN = "/run/piot/apt.lock"  # held by the one run that installs, whatever app it is for
_PAUSE = 1.0  # seconds between two looks at a lock
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
_APT = ("apt-get", "-q", "-y", "-o", f"DPkg::Lock::Timeout={_LOCK}")
# Configuration files that were edited stay.
_KEEP = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
# Lists that are only partly fresh must not make a package look as if there was none.
_STRICT = ("-o", "APT::Update::Error-Mode=any")
_UNKNOWN = re.compile(r"Unable to locate package|has no installation candidate|"
                      r"Couldn't find any package by")  # fmt: skip
# Of the lists and the archives: these two locks apt itself does not wait for.
_BUSY = re.compile(r"Unable to lock directory")
# apt's advice after a power cut in the middle of dpkg's work, and where packages wait for others.
_BROKEN = "dpkg --configure -a"
_UNMET = "--fix-broken install"


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
    with _turn(system):
        update = _apt(system, *_STRICT, "update")
        result = _apt(system, *_KEEP, "install", "--", *names)
        if result.code != 0 and _BROKEN in result.err + result.out:
            say("finishing what a power cut left half installed")
            _run(system, "dpkg", "--configure", "-a", "--force-confdef", "--force-confold")
            result = _apt(system, *_KEEP, "install", "--", *names)
        if result.code != 0 and _UNMET in result.err + result.out:
            # dpkg could not finish it, for what it depends on was still to be unpacked.
            say("fetching what a power cut left uninstalled")
            _apt(system, *_KEEP, "--no-remove", "--fix-broken", "install")
            result = _apt(system, *_KEEP, "install", "--", *names)
    if result.code == 0:
        return
    words = f"apt-get install {' '.join(names)}: {_why(result)}"
    if not _UNKNOWN.search(result.err + result.out):
        raise ApplyError(words)
    if update.code == 0:
        raise Unknown(words, "is the name right, for this release of Debian?")
    # Not known to old lists: what kept them from being fresh is the cause.
    raise ApplyError(f"{words}; apt-get update: {_why(update)}")


@contextmanager
def _turn(system: System) -> Iterator[None]:
    """Wait until no other run of PioT installs anything, and be the one that does.

    Each then has the whole of apt's patience with others, and fresh lists while it installs.
    """
    end = time.monotonic() + _LOCK + _INSTALL
    while True:
        with system.lock(_TURN, wait=False) as ours:
            if ours:
                yield
                return
        if time.monotonic() >= end:
            raise ApplyError(f"Could not get lock {_TURN}: PioT has been installing for long")
        progress("waiting for packages of another app to be installed")
        time.sleep(_PAUSE)


def _apt(system: System, *args: str) -> Result:
    """Run apt-get without questions; wait for another apt, also where apt itself does not."""
    end = time.monotonic() + _LOCK
    while True:
        result = _run(system, *_APT, *args)
        if not _BUSY.search(result.err) or time.monotonic() >= end:
            return result
        progress(f"waiting for another apt: {_why(result)}")
        time.sleep(_PAUSE)


def _run(system: System, *argv: str) -> Result:
    """Run a command that may take long, and wait for others before."""
    allow(_LOCK + _INSTALL)
    return system.run(argv, timeout=_LOCK + _INSTALL, env=_QUIET)


def _why(result: Result) -> str:
    """Return what apt says went wrong: its own errors rather than the last line of all."""
    text = result.err or result.out
    errors = [line[3:].strip() for line in text.splitlines() if line.startswith("E: ")]
    return errors[0] if errors else result.reason
