"""Where the program of a command line lies: in the release, its environments, or the system."""

from __future__ import annotations

from collections.abc import Callable
from posixpath import normpath
from typing import Protocol

SYSTEMD = {"bookworm": 252, "trixie": 257}  # the version that each Debian release has
SEARCH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")


class Tree(Protocol):
    """What can be asked about files: a device, the tree of one, or a folder on a laptop."""

    def exists(self, path: str) -> bool:
        """Tell whether something stands at a path."""

    def runnable(self, path: str) -> bool:
        """Tell whether a path is a file that may be executed."""


def program_finder(tree: Tree, release: str) -> Callable[[str, str], str]:
    """Return what finds a unit's program: in the release, its venv and packages, the system.

    The result raises LookupError in words when there is no such program or it cannot run.
    """

    def find(word: str, directory: str) -> str:
        base = f"{release}/{directory}".rstrip("/") if directory else release
        if "/" in word:
            path = word if word.startswith("/") else normpath(f"{base}/{word}")
            if tree.runnable(path):
                return path
            if tree.exists(path):
                hint = f"git update-index --chmod=+x {word.removeprefix('./')}"
                raise LookupError(f"{word} is not executable; in the repository: {hint}")
            raise LookupError(f"{word} is not in the release")
        local = (f"{release}/.venv/bin", f"{base}/node_modules/.bin")
        # Debian has no `python`; people mean the one that is there.
        for name in (word, "python3") if word == "python" else (word,):
            for place in (*local, *SEARCH):
                if tree.runnable(f"{place}/{name}"):
                    return f"{place}/{name}"
        raise LookupError(f"there is no program {word!r} on this device")

    return find
