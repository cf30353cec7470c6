"""A tree that behaves as if systemd ran it: units start, fail and stop, in a file of the tree.

What a booted machine would show in a second takes a millisecond here, so that a deploy can be
stopped at each of its steps. Held to what systemd does where the applier relies on it: a unit runs
with the text that was loaded, not with the one on disk; a target starts what it wants and stops
what is part of it; /run, and with it all this, is gone after a reboot.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from piot_firstboot.errors import ApplyError
from piot_firstboot.system import Result, System
from tests.kit import faults

Played = Callable[[System, list[str], bytes], Result]

UNITS = "etc/systemd/system"
BROKEN = "BROKEN"  # services of a release with a file of this name do not stay up
_STATE = "run/systemd.json"
_replace = os.replace  # the real one: PID 1 is not what is stopped


@dataclass(slots=True)
class Manager:
    """What PID 1 holds in memory: texts as loaded, and what runs with which text."""

    root: Path
    loaded: dict[str, str] = field(default_factory=dict)
    running: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    ran: list[list[str]] = field(default_factory=list)

    @classmethod
    def of(cls, root: Path) -> Manager:
        """Read what PID 1 knows in a tree."""
        path = root / _STATE
        return cls(root, **json.loads(path.read_text())) if path.exists() else cls(root)

    def save(self) -> None:
        """Write it back."""
        values = {
            "loaded": self.loaded,
            "running": self.running,
            "failed": self.failed,
            "restarts": self.restarts,
            "ran": self.ran,
        }
        path = self.root / _STATE
        path.parent.mkdir(exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(values, indent=1, sort_keys=True))
        _replace(part, path)

    # -- what systemctl asks for --------------------------------------------------------------

    def reload(self) -> None:
        """Read every loaded unit anew."""
        for unit in list(self.loaded):
            text = self.text(unit)
            if text or unit in self.running:
                self.loaded[unit] = text
            else:
                del self.loaded[unit]
            if unit in self.running and not unit.endswith(".service"):
                self.running[unit] = text  # takes effect by itself; a process keeps what it has

    def start(self, unit: str) -> str:
        """Start a unit that does not run; return "" or why it failed."""
        text = self.load(unit)
        if not text:
            return f"Unit {unit} not found."
        if unit in self.running:
            if unit.endswith(".target"):
                self._pull(unit)
            return ""
        self.failed.pop(unit, None)
        if "\nType=oneshot\n" in text:
            self.ran.append([unit, release(text)])
            if "\nRemainAfterExit=yes\n" not in text:
                return ""
        self.running[unit] = text
        if unit.endswith(".target"):
            self._pull(unit)
        return ""

    def stop(self, unit: str) -> None:
        """Stop a unit, and what is part of it."""
        self.running.pop(unit, None)
        for other in [u for u, text in self.running.items() if f"PartOf={unit}\n" in text]:
            self.stop(other)

    def link(self, unit: str, *, on: bool) -> None:
        """Enable or disable a unit as its [Install] says."""
        for target in re.findall(r"(?m)^WantedBy=(\S+)", self.text(unit)):
            link = self.root / UNITS / f"{target}.wants" / unit
            if on and not link.is_symlink():
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(f"/usr/lib/systemd/system/{unit}")
            elif not on:
                link.unlink(missing_ok=True)

    def show(self, unit: str) -> dict[str, str]:
        """Return the properties of a unit."""
        text = self.load(unit)
        running = unit in self.running
        shown = {
            "Id": unit,
            "LoadState": "loaded" if text else "not-found",
            "ActiveState": "active" if running else "inactive",
            "SubState": "running" if running else "dead",
            "Result": "success",
            "UnitFileState": "enabled" if self._wanted(unit) else "disabled" if text else "",
            "NeedDaemonReload": "yes" if text != self.text(unit) else "no",
            "MainPID": "100" if running else "0",
        }
        if unit in self.failed:
            shown |= {"ActiveState": "failed", "SubState": "failed", "Result": self.failed[unit]}
        if running and unit.endswith(".service") and self._broken(self.running[unit]):
            # Restart=always: between two attempts each time that one looks.
            self.restarts[unit] = self.restarts.get(unit, 0) + 1
            shown |= {"ActiveState": "activating", "SubState": "auto-restart"}
            shown["Result"] = "exit-code"
        shown["NRestarts"] = str(self.restarts.get(unit, 0))
        return shown

    # -- below ---------------------------------------------------------------------------------

    def load(self, unit: str) -> str:
        """Return a unit's text as loaded; one that was never named is read now."""
        if not self.loaded.get(unit) and (text := self.text(unit)):
            self.loaded[unit] = text
        return self.loaded.get(unit, "")

    def text(self, unit: str) -> str:
        """Return a unit's text on disk, the system's behind ours, drop-ins after it."""
        folder, system = self.root / UNITS, self.root / "usr/lib/systemd/system"
        names = (unit, re.sub(r"@.+(?=\.)", "@", unit))
        places = [place / name for name in names for place in (folder, system)]
        there = [path for path in places if path.is_file()]
        paths = [*there[:1], *sorted(folder.glob(f"{unit}.d/*.conf"))]
        return "".join(path.read_text() for path in paths if path.is_file())

    def _pull(self, target: str) -> None:
        for link in sorted((self.root / UNITS / f"{target}.wants").glob("*")):
            self.start(link.name)

    def _wanted(self, unit: str) -> bool:
        return any((self.root / UNITS).glob(f"*.wants/{unit}"))

    def _broken(self, text: str) -> bool:
        place = re.search(r"(/var/lib/piot/apps/[^/\s]+/releases/[0-9a-f]+)", text)
        return bool(place) and (self.root / place[1][1:] / BROKEN).exists()  # type: ignore[index]


def release(text: str) -> str:
    """Return the commit that a unit's text belongs to."""
    found = re.search(r"PIOT_COMMIT=([0-9a-f]+)", text)
    return found[1] if found else ""


class Booted(System):
    """A `System` for a tree that counts as live; systemd's programs are played by `Manager`."""

    def __init__(self, root: Path, played: Mapping[str, Played] | None = None) -> None:
        super().__init__(str(root))
        self.live = True
        self._played = {**_PLAYED, **(played or {})}

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 120.0,
        env: Mapping[str, str] | None = None,
        check: bool = False,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """Run a command; what needs a running machine is played."""
        played = self._played.get(argv[0])
        if played is None:
            return super().run(
                argv, stdin=stdin, timeout=timeout, env=env, check=check, on_line=on_line
            )
        faults.change("command", " ".join(argv))
        result = played(self, list(argv[1:]), stdin)
        if check and result.code:
            raise ApplyError(f"{argv[0]}: {result.reason}")
        return result


def reboot(root: Path) -> None:
    """Take from a tree what a power cut takes, and start what the boot starts."""
    shutil.rmtree(root / "run", ignore_errors=True)
    manager = Manager(root)
    for target in ("multi-user", "timers"):
        for link in sorted((root / UNITS / f"{target}.target.wants").glob("*")):
            manager.start(link.name)
    manager.save()


def _systemctl(system: System, words: list[str], stdin: bytes) -> Result:
    """Play systemctl."""
    flags = [word for word in words if word.startswith("-")]
    plain = [word for word in words if not word.startswith("-")]
    manager = Manager.of(Path(system.root))
    if "--version" in flags:
        return Result(0, "systemd 257 (257.9)\n", "")
    verb, *names = plain
    if verb == "show":
        return _show(manager, words[1:])
    if verb == "is-system-running":
        return Result(0, "running\n", "")
    trouble = ""
    if verb == "daemon-reload":
        manager.reload()
    elif verb in ("start", "stop", "restart", "try-reload-or-restart", "try-restart", "reload"):
        for name in names:
            # Saved unit by unit: systemd, too, is interrupted between two of them.
            faults.change("unit", f"{verb} {name}")
            trouble = _do(manager, verb, name) or trouble
            manager.save()
    elif verb == "reset-failed":
        for name in names:
            manager.failed.pop(name, None)
            manager.restarts.pop(name, None)
    elif verb in ("is-active", "is-enabled", "is-failed"):
        state = [manager.show(name) for name in names]
        kind = "UnitFileState" if verb == "is-enabled" else "ActiveState"
        return Result(0, "".join(f"{one[kind]}\n" for one in state), "")
    elif verb in ("enable", "disable"):
        for name in names:
            faults.change("unit", f"{verb} {name}")
            manager.link(name, on=verb == "enable")
    elif verb not in ("kill", "list-units", "list-timers"):
        raise AssertionError(f"systemctl {verb} is not played: {words}")
    manager.save()
    return Result(1 if trouble else 0, "", trouble)


def _do(manager: Manager, verb: str, name: str) -> str:
    """Start, stop or restart one unit."""
    if verb == "stop":
        manager.stop(name)
        return ""
    if verb.startswith("try") and name not in manager.running:
        return ""
    if verb != "start":
        manager.stop(name)
    manager.restarts.pop(name, None)
    return manager.start(name)


def _show(manager: Manager, words: list[str]) -> Result:
    """Play `systemctl show -p A,B -P C UNIT…`."""
    asked: list[str] = []
    names: list[str] = []
    bare = False
    left = iter(words)
    for word in left:
        if word in ("-p", "-P", "--property"):
            bare = word == "-P"
            asked += next(left).split(",")
        elif word.startswith(("--property=", "-p")):
            asked += word.partition("=")[2].split(",")
        elif not word.startswith("-"):
            names.append(word)
    blocks = []
    for name in names:
        shown: dict[str, Any] = manager.show(name)
        lines = [f"{shown.get(k, '')}" if bare else f"{k}={shown.get(k, '')}" for k in asked]
        blocks.append("\n".join(lines) + "\n")
    manager.save()
    return Result(0, "\n".join(blocks), "")


def _nothing(system: System, words: list[str], stdin: bytes) -> Result:
    """Play a program that has nothing to say."""
    return Result(0, "", "")


# `sync` flushes the developer's whole disk; a killed process loses nothing that was written.
_PLAYED: dict[str, Played] = {
    "systemctl": _systemctl,
    "systemd-analyze": _nothing,
    "systemd-run": _nothing,
    "sync": _nothing,
}
