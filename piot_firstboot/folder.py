"""A folder on a laptop: what can be asked of it, on Linux, macOS and Windows alike."""

from __future__ import annotations

import os
from pathlib import Path


class Folder:
    """A folder as the root of a tree; paths inside it are written with slashes, from `/` on."""

    def __init__(self, path: str | Path) -> None:
        """Take the folder."""
        self.path = Path(path)

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None where there is none."""
        path = self._real(name)
        return path.read_bytes() if path.is_file() else None

    def exists(self, path: str) -> bool:
        """Tell whether something stands at a path."""
        return self._real(path).exists()

    def runnable(self, path: str) -> bool:
        """Tell whether a path is a file that may be executed, as far as this system knows."""
        real = self._real(path)
        return real.is_file() and (os.name == "nt" or os.access(real, os.X_OK))

    def names(self, path: str = "") -> list[str]:
        """List what lies in a folder inside, nothing where there is none."""
        real = self._real(path)
        return sorted(entry.name for entry in real.iterdir()) if real.is_dir() else []

    def write(self, name: str, data: bytes, mode: int = 0o644, *, lasting: bool = True) -> None:
        """Replace a file by rename, so that it is whole at any time and never open to others.

        What is not `lasting` can be made again at will: it is not flushed, and a file that is as
        wanted stays (ext4 flushes what is renamed over another; a thousand units would feel it).
        """
        real = self._real(name)
        if not lasting and real.is_file() and real.read_bytes() == data:
            return
        partial = real.with_name(f".{real.name}.{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        try:
            file = os.open(partial, flags, mode)
        except FileNotFoundError:
            real.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(partial, flags, mode)
        try:
            with os.fdopen(file, "wb", buffering=0) as stream:
                rest = memoryview(data)
                while rest:
                    rest = rest[stream.write(rest) or 0 :]
                if lasting:
                    os.fsync(file)
            partial.replace(real)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _real(self, path: str) -> Path:
        return self.path / path.lstrip("/")
