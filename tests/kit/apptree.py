"""A tree with one app on it, as piot.conf would have left it, and the app's repository."""

from __future__ import annotations

import json
from pathlib import Path

from piot_firstboot import deploy, state
from piot_firstboot.system import System
from piot_firstboot.transaction import Outcome
from tests.kit.git_repo import Repo

MANIFEST = """\
piot: 1
services:
  web: {run: ./web.sh}
jobs:
  tick: {run: ./web.sh, every: 1min}
"""
FILES = {".piot.yaml": MANIFEST, "web.sh": "#!/bin/sh\nsleep 1000\n"}
UNITS = "etc/systemd/system"


class Device:
    """A tree with one app, as piot.conf would have left it, and the app's repository."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.repo = Repo(folder / "repositories", "garden")
        self.system = System(str(self.root))
        self.source()
        self.system.write("/etc/hostname", b"pi\n")
        self.system.write("/etc/passwd", b"root:x:0:0::/root:/bin/sh\n")
        self.system.write("/etc/group", b"root:x:0:\n")

    def source(self, **changes: object) -> None:
        """Write what piot.conf says of the app."""
        values = {"schema": 1, "name": "garden", "repo": self.repo.url, "ref": "", "poll": 300}
        data = json.dumps({**values, **changes}).encode()
        self.system.write("/var/lib/piot/apps/garden/app.json", data)

    def deploy(self) -> Outcome:
        """Deploy the app."""
        return deploy.deploy(self.system, "garden")

    def record(self) -> state.Record:
        """Read the app's record."""
        return state.load(self.system, "garden")

    def releases(self) -> list[str]:
        """List what is in the app's releases directory."""
        return list(self.system.names("/var/lib/piot/apps/garden/releases"))

    def unit(self, name: str = "piot-garden-web.service") -> str:
        """Read a unit file."""
        return (self.root / UNITS / name).read_text()
