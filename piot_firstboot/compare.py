"""piot plan DIR: what a device would change if this folder were its newest commit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from difflib import unified_diff
from shlex import quote

from piot_firstboot.ask import ask
from piot_firstboot.checkout import app_name, declaration, reader, resolver
from piot_firstboot.errors import ApplyError
from piot_firstboot.folder import Folder
from piot_firstboot.items import File
from piot_firstboot.manifest import Manifest, When
from piot_firstboot.programs import SEARCH, SYSTEMD, program_finder
from piot_firstboot.render.app_units import UNITS, Release, render_app

_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "--")
_HEADER = re.compile(r"(?m)^# Made by PioT from \S+ of (\S+), commit ([0-9a-f]{40,64})\.$")
_CODENAME = re.compile(r'(?m)^VERSION_CODENAME="?(\w+)')
_PLAIN = re.compile(r"(?m)^LoadCredential=(\w+):")
_MARK = "\x01"  # begins a part of what a device answers; no unit has one
_COMMIT = "COMMIT"


@dataclass(frozen=True, slots=True)
class Device:
    """What is installed: the units of one app by name, the Debian release, where programs are.

    `groups` are the groups of accounts, `controllers` what the kernel can limit.
    """

    units: dict[str, str]
    codename: str
    groups: frozenset[str]
    controllers: frozenset[str]
    find: Callable[[str], str] = field(repr=False)

    def variable(self, name: str) -> str:
        """Return a variable that PioT set in the units, "" where there is none yet."""
        for text in self.units.values():
            match = re.search(rf'^Environment="?{name}=([^"\n]*)', text, re.MULTILINE)
            if match:
                return match[1].replace("%%", "%")
        return ""

    @property
    def plain(self) -> frozenset[str]:
        """Return the secrets that this device could not seal."""
        return frozenset(n for text in self.units.values() for n in _PLAIN.findall(text))


@dataclass(frozen=True, slots=True)
class Difference:
    """One unit that would be created, changed or removed, and the lines that go and come."""

    verb: str
    unit: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All differences of an app, and how many units stay as they are."""

    app: str
    differences: tuple[Difference, ...]
    same: int

    def text(self) -> str:
        """Show them to people."""
        lines = []
        for one in self.differences:
            lines.append(f"{one.verb} {one.unit}")
            if one.verb == "change":
                lines += [f"    {line}" for line in one.lines]
        many = f"{self.same} unit{'s' * (self.same != 1)}"
        end = f"{many} of {self.app} as they are" if self.same else f"no unit of {self.app} stays"
        return "\n".join([*lines, end if self.differences or self.same else "nothing to do"])

    def json(self) -> str:
        """Render them for programs."""
        rows = [{"verb": d.verb, "unit": d.unit, "diff": list(d.lines)} for d in self.differences]
        return json.dumps({"app": self.app, "changes": rows, "same": self.same}, indent=1)


def compare(directory: str, *, root: str = "/", host: str = "", app: str = "") -> Comparison:
    """Render a folder as its device would and say how that differs from what is installed.

    Raises ConfigError for a wrong manifest, ApplyError where the device cannot be asked.
    """
    folder = Folder(directory)
    declared = declaration(folder)
    name = app_name(folder, declared, app)
    device = _over_ssh(host, name, _programs(declared)) if host else _below(root, name)
    place = f"/var/lib/piot/apps/{name}/releases/{_COMMIT}"
    declared = _there(declared, name, device)
    release = Release(
        app=name,
        commit=_COMMIT,
        path=place,
        hostname=device.variable("PIOT_HOSTNAME"),
        role=device.variable("PIOT_ROLE"),
        manifest_path=declared.source,
        systemd=SYSTEMD.get(device.codename, max(SYSTEMD.values())),
        resolve=resolver(folder, declared, place, device.find),
        read=reader(folder),
        plain=device.plain,
        groups=device.groups or None,
        controllers=device.controllers,
    )
    items = render_app(declared, release, source=declared.source)
    wanted = {
        item.path.removeprefix(f"{UNITS}/"): item.content.decode()
        for item in items
        if isinstance(item, File) and item.path.startswith(f"{UNITS}/")
    }
    return _comparison(name, wanted, device.units)


def _there(declared: Manifest, app: str, device: Device) -> Manifest:
    """Settle what only the device knows of itself: a unit for some models is there or it is not."""

    def settled(name: str, when: When) -> When:
        known = When(role=when.role, host=when.host)
        installed = f"piot-{app}-{name}.service" in device.units
        return known if known == when or installed else when

    return replace(
        declared,
        services=tuple(replace(s, when=settled(s.name, s.when)) for s in declared.services),
        jobs=tuple(replace(j, when=settled(j.name, j.when)) for j in declared.jobs),
    )


def _comparison(app: str, wanted: dict[str, str], installed: dict[str, str]) -> Comparison:
    """Hold what is wanted against what is there, the commit of each unit left out."""
    found = []
    for unit in sorted({*wanted, *installed}):
        old, new = _neutral(installed.get(unit, "")), wanted.get(unit, "")
        if old == new:
            continue
        verb = "change" if old and new else "create" if new else "remove"
        found.append(Difference(verb, unit, tuple(_differ(old, new))))
    return Comparison(app, tuple(found), len(wanted) - sum(d.verb != "remove" for d in found))


def _neutral(text: str) -> str:
    match = _HEADER.search(text)
    return text.replace(match[2], _COMMIT) if match else text


def _differ(old: str, new: str) -> Iterable[str]:
    rows = unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return (row for row in rows if not row.startswith(("---", "+++", "@@")))


def _programs(declared: Manifest) -> list[str]:
    """Name the programs of the system that an app starts."""
    commands = [unit.run for unit in declared.services] + [job.run for job in declared.jobs]
    commands += [s.health.command for s in declared.services if s.health.command]
    words = {command.program for command in commands if not command.shell}
    names = {"python3" if word == "python" else word for word in words if "/" not in word}
    return sorted(names)


def _mine(units: dict[str, str], app: str) -> dict[str, str]:
    """Keep the units of one app: those of `garden-two` begin like those of `garden`."""
    matches = {name: _HEADER.search(text) for name, text in units.items()}
    return {n: t for n, t in units.items() if (match := matches[n]) and match[1] == app}


def _below(root: str, app: str) -> Device:
    """Look at the tree below a root."""
    tree = Folder(root)
    units = {}
    for path in sorted((tree.path / UNITS.lstrip("/")).glob(f"piot-{app}*")):
        if path.is_file() and not path.is_symlink():
            units[path.name] = path.read_bytes().decode("utf-8", "replace")
    find = program_finder(tree, "/nowhere")
    parts = {
        "system": _text(tree, "/usr/lib/os-release"),
        "groups": _text(tree, "/etc/group"),
        "controllers": _text(tree, "/sys/fs/cgroup/cgroup.controllers"),
    }
    return _device(_mine(units, app), parts, lambda word: find(word, ""))


def _text(tree: Folder, path: str) -> str:
    return (tree.read(path) or b"").decode("utf-8", "replace")


def _device(units: dict[str, str], parts: dict[str, str], find: Callable[[str], str]) -> Device:
    """Put together what was found; a tree that is not running has all controllers."""
    codename = _CODENAME.search(parts["system"])
    groups = frozenset(line.partition(":")[0] for line in parts["groups"].splitlines())
    known = frozenset(parts["controllers"].split()) or frozenset(("cpu", "memory"))
    return Device(units, codename[1] if codename else "", groups, known, find)


def _over_ssh(host: str, app: str, programs: list[str]) -> Device:
    """Ask a device for the same, by the system's own ssh: its keys, its settings, no root."""
    script = f"""\
for file in {UNITS}/piot-{quote(app)}.* {UNITS}/piot-{quote(app)}-*; do
    [ ! -f "$file" ] || {{ printf '\\001unit %s\\n' "${{file##*/}}"; cat "$file"; }}
done
printf '\\001system\\n'; cat /usr/lib/os-release
printf '\\001groups\\n'; cat /etc/group
printf '\\001controllers\\n'; cat /sys/fs/cgroup/cgroup.controllers
for word in {" ".join(map(quote, programs))}; do
    printf '\\001program %s\\n' "$word"
    for place in {" ".join(SEARCH)}; do
        [ ! -x "$place/$word" ] || {{ printf '%s\\n' "$place/$word"; break; }}
    done
done
printf '\\001end\\n'
"""
    answer = ask((*_SSH, host, "sh"), input=script, timeout=60)
    parts = dict(part.partition("\n")[::2] for part in (answer or "").split(_MARK)[1:])
    if "end" not in parts:
        hint = f"try it by hand: ssh {host} true"
        raise ApplyError(f"{host} does not answer to ssh", hint)
    units = {name[5:]: text for name, text in parts.items() if name.startswith("unit ")}

    def find(word: str) -> str:
        path = parts.get(f"program {word}", "").strip()
        if not path.startswith("/"):
            raise LookupError(f"there is no program {word!r} on {host}")
        return path

    return _device(_mine(units, app), parts, find)
