"""A small file system of its own, to be full or read-only in earnest."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FILLER = "filler"


@contextmanager
def partition(folder: Path, size: str = "64k") -> Iterator[Path]:
    """Mount an empty file system of this size at a directory; unmount it at the end.

    As on FAT, a file can be overwritten in place when there is no room for another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={size},mode=0755"
    mount = ["mount", "-t", "tmpfs", "-o", options, "piot-test", str(folder)]
    subprocess.run(mount, check=True, timeout=30)
    try:
        yield folder
    finally:
        # Lazily: a machine that booted on it may still be letting go.
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=30)


def fill(folder: Path) -> None:
    """Take all the room that is left."""
    with (folder / _FILLER).open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def make_room(folder: Path) -> None:
    """Give it back."""
    (folder / _FILLER).unlink()


def set_writable(folder: Path, writable: bool) -> None:
    """Let the whole file system take writes, or refuse them."""
    options = f"remount,{'rw' if writable else 'ro'}"
    subprocess.run(["mount", "-o", options, str(folder)], check=True, timeout=30)
