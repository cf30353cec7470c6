"""A tree with one app and the app's repository: what is between PioT and git, without a machine."""

import json
import subprocess
from dataclasses import asdict, replace
from pathlib import Path

from piot_firstboot import repository
from piot_firstboot.repository import Tip
from piot_firstboot.state import Source
from piot_firstboot.system import System
from piot_firstboot.verify import verify
from tests.kit.git_repo import Repo

MIRROR = "var/lib/piot/apps/garden/mirror.git"


class Device:
    """A tree with one app and the app's repository, reached by a path or by a server."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.root = folder / "root"
        self.root.mkdir()
        self.repo = Repo(folder / "repositories", "garden")
        self.system = System(str(self.root))
        self.origin = Source("garden", url or self.repo.url, "", None)
        self.said: list[str] = []

    def ask(self, **changes: object) -> Source:
        """Set what piot.conf says of the app."""
        self.origin = replace(self.origin, **changes)  # type: ignore[arg-type]
        values = {**asdict(self.origin), "secrets": {}}
        for key in ("deploy_key", "token"):
            if values.pop(key):
                values["secrets"][key] = f"app.{key}"
        data = json.dumps(values).encode()
        self.system.write("/var/lib/piot/apps/garden/app.json", data)
        return self.origin

    def fetch(self, tip: Tip | None = None) -> Tip:
        """Resolve and fetch."""
        tip = tip or repository.resolve(self.system, self.origin)
        repository.fetch(self.system, self.origin, tip, self.said.append)
        return tip

    def verify(self, running: str = "") -> Tip:
        """Resolve, fetch and verify."""
        tip = self.fetch()
        verify(self.system, self.origin, tip, running, self.said.append)
        return tip

    def check_out(self) -> dict[str, str]:
        """Resolve, fetch, verify, check out; return what was written."""
        tip = self.verify()
        self.system.remove_tree("/release")
        repository.check_out(self.system, "garden", tip.commit, "/release")
        return texts(self.root / "release")

    def git(self, *words: str) -> str:
        """Run git in the mirror."""
        argv = ["git", f"--git-dir={self.root / MIRROR}", *words]
        return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def texts(folder: Path) -> dict[str, str]:
    """Return every file below a folder; a link as what it says."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            found[name] = path.read_text(errors="replace")
    return found
