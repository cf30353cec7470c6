"""What becomes of a bare repository on a worn card, or under a git that was cut off."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path


def pack(git: Path) -> Path:
    """Return a pack of a mirror."""
    return next(git.glob("objects/pack/*.pack"))


def _cut(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-30])


def _flip(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "pack cut": lambda git: _cut(pack(git)),
    "pack empty": lambda git: os.truncate(pack(git), 0),
    "pack gone": lambda git: pack(git).unlink(),
    "pack flipped": lambda git: _flip(pack(git)),
    "index gone": lambda git: next(git.glob("objects/pack/*.idx")).unlink(),
    "index cut": lambda git: _cut(next(git.glob("objects/pack/*.idx"))),
    "objects gone": lambda git: subprocess.run(["rm", "-r", git / "objects"], check=True),
    "refs gone": lambda git: subprocess.run(["rm", "-r", git / "refs"], check=True),
    "ref empty": lambda git: (git / "refs/piot/tip").write_bytes(b""),
    "ref of zeros": lambda git: (git / "refs/piot/tip").write_bytes(bytes(41)),
    "ref to nothing": lambda git: (git / "refs/piot/tip").write_text("1" * 40 + "\n"),
    "HEAD gone": lambda git: (git / "HEAD").unlink(),
    "HEAD empty": lambda git: (git / "HEAD").write_bytes(b""),
    "config gone": lambda git: (git / "config").unlink(),
    "config of zeros": lambda git: (git / "config").write_bytes(bytes(60)),
    "shallow of zeros": lambda git: (git / "shallow").write_bytes(bytes(41)),
    "shallow gone": lambda git: (git / "shallow").unlink(),
    "shallow.lock": lambda git: (git / "shallow.lock").touch(),
    "ref.lock": lambda git: (git / "refs/piot/tip.lock").touch(),
    "HEAD.lock": lambda git: (git / "HEAD.lock").touch(),
    "packed-refs.lock": lambda git: (git / "packed-refs.lock").touch(),
    "config.lock": lambda git: (git / "config.lock").touch(),
    "half a pack": lambda git: (git / "objects/pack/tmp_pack_Xy").write_bytes(bytes(9000)),
    "a file": lambda git: subprocess.run(f"rm -r {git}; touch {git}", shell=True, check=True),
}
