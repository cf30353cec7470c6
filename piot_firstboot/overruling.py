"""What other files say that goes before PioT's own, or after it where the last word counts.

Looked at beforehand, because what is overruled in silence looks as if it had been applied.
"""

from __future__ import annotations

from collections.abc import Iterator

from piot_firstboot.system import System

_SSHD = "/etc/ssh/sshd_config"
_DROP_INS = "/etc/ssh/sshd_config.d"
_MINE = "10-piot.conf"
_SUDOERS = "/etc/sudoers"
_RULES = "/etc/sudoers.d"
_PREFIX = "95-piot-"
# Lines of sudoers that grant nothing by themselves; sudoers(5).
_NO_RULE = ("Defaults", "User_Alias", "Runas_Alias", "Host_Alias", "Cmnd_Alias", "#", "@")


def sshd_includes(system: System) -> bool:
    """Tell whether sshd reads the directory of PioT's drop-in; unknown counts as yes."""
    data = system.read(_SSHD)
    return data is None or any(_includes(line) for line in _lines(data))


def sshd_before(system: System) -> dict[str, str]:
    """Return the options that are set before PioT's drop-in, and where; the first one counts."""
    found: dict[str, str] = {}
    sources = [(_SSHD, system.read(_SSHD) or b"")]
    for name in system.names(_DROP_INS):
        if name.endswith(".conf") and name < _MINE:
            path = f"{_DROP_INS}/{name}"
            sources.append((path, system.read(path) or b""))
    for path, data in sources:
        for line in _lines(data):
            word = line.replace("=", " ").split()[0].lower()
            # What follows holds for some connections only, or is read after the drop-ins.
            if word == "match" or (path == _SSHD and _includes(line)):
                break
            found.setdefault(word, path)
    return found


def sudo_after(system: System) -> tuple[tuple[str, str], ...]:
    """Return the rules that sudo reads after PioT's, each with its file; the last one counts."""
    found: list[tuple[str, str]] = []
    for name in system.names(_RULES):
        # sudoers(5): files with a dot or a `~` at the end are skipped.
        if name > _PREFIX and not name.startswith(_PREFIX) and not ("." in name or name[-1] == "~"):
            path = f"{_RULES}/{name}"
            found += ((path, rule) for rule in _rules(system.read(path) or b""))
    included = False
    for line in (system.read(_SUDOERS) or b"").decode("utf-8", "replace").splitlines():
        if line.startswith(("@includedir", "#includedir")) and _RULES in line:
            included = True
        elif included:
            found += ((_SUDOERS, rule) for rule in _rules(line.encode()))
    return tuple(found)


def _includes(line: str) -> bool:
    """Tell whether a line of sshd_config brings in the drop-ins."""
    words = line.split()
    return words[0].lower() == "include" and any("sshd_config.d/" in word for word in words[1:])


def _lines(data: bytes) -> Iterator[str]:
    """Yield the lines of sshd's configuration that say something."""
    for line in data.decode("utf-8", "replace").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line.strip()


def _rules(data: bytes) -> Iterator[str]:
    """Yield the lines of sudoers that grant or deny something."""
    for line in data.decode("utf-8", "replace").replace("\\\n", " ").splitlines():
        if "=" in line and not line.strip().startswith(_NO_RULE):
            yield " ".join(line.split())
