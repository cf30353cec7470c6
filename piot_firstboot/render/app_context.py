"""What the renderers of one app's units share: the manifest, the release, problems found so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from piot_firstboot import envfile
from piot_firstboot.declared import Job, Manifest, Pairs, Service
from piot_firstboot.errors import ConfigError, Problem
from piot_firstboot.items import Symlink
from piot_firstboot.render import app_exec
from piot_firstboot.render.app_release import Release
from piot_firstboot.unitfile import UnitFile, specifiers

UNITS = "/etc/systemd/system"
STOP = 95.0  # seconds for systemd to end what ran too long, its own 90 included


@dataclass(slots=True)
class Context:
    """One manifest being rendered; problems are collected."""

    manifest: Manifest
    release: Release
    source: str
    role: str = ""
    problems: list[Problem] = field(default_factory=list)
    _env_files: dict[str, Pairs] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """Return the name of the target that holds the app's units."""
        return f"{self.release.prefix}.target"

    def unit(self, name: str, kind: str = "service") -> str:
        """Return the name of the unit of a service or job."""
        return f"{self.release.prefix}-{name}.{kind}"

    def file(self, name: str, description: str) -> UnitFile:
        """Begin a unit file: where it came from."""
        release = self.release
        comment = f"Made by PioT from {self.source} of {release.app}, commit {release.commit}."
        file = UnitFile(name, f"{comment}\nThe next deploy replaces this file.")
        file.add("Unit", "Description", specifiers(description))
        origin = f"{release.path}/{release.manifest_path}"
        file.add("Unit", "SourcePath", specifiers(origin))
        return file

    def found(self, unit: Service | Job, command: app_exec.Command) -> app_exec.Argv:
        """Return a command's words, its program looked up."""
        if command.shell:
            return ("/bin/sh", "-c", *command.words)
        try:
            program = self.release.resolve(command.program, unit.dir)
        except LookupError as error:
            message = f"{unit.name}: {error.args[0] if error.args else command.program}"
            self.problems.append(Problem(self.source, unit.line, 1, message))
            program = "/bin/false"
        return (program, *command.words[1:])

    def env(self, unit: Service | Job) -> dict[str, str]:
        """Return the variables that the author gives a unit: files first, the app's first."""
        manifest = self.manifest
        return {
            **dict(self._env_file(manifest.env_file, 0)),
            **dict(manifest.env),
            **dict(self._env_file(unit.env_file, unit.line)),
            **dict(unit.env),
        }

    def _env_file(self, path: str, line: int) -> Pairs:
        """Read an env_file of the release, once."""
        if path and path not in self._env_files:
            self._env_files[path] = ()
            try:
                self._env_files[path] = envfile.parse(self.release.read(path), path)
            except LookupError as error:
                message = f"env_file: {error.args[0] if error.args else path}"
                self.problems.append(Problem(self.source, line, 1 if line else 0, message))
            except ConfigError as error:
                self.problems += error.problems
        return self._env_files.get(path, ())


def path(file: UnitFile) -> str:
    """Return where a unit file goes."""
    return f"{UNITS}/{file.name}"


def link(wanting: str, name: str) -> Symlink:
    """Return the link by which one unit wants another."""
    return Symlink(f"{UNITS}/{wanting}.wants/{name}", f"{UNITS}/{name}")


def add_order(file: UnitFile, *others: str) -> None:
    """Order a unit behind others, and behind what every unit of an app waits for."""
    first = ("network.target", "time-set.target", "piot-firstboot.service")
    file.add("Unit", "After", " ".join(dict.fromkeys((*first, *others))))
    # The default limit stops a service for good when the network is late, and a job that
    # runs every second.
    file.add("Unit", "StartLimitIntervalSec", 0)
