"""A build cache outside the checkout: entries appear whole, and only one process builds each."""

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_SECONDS = 1800  # longest one build may take on a slow machine


def cache_dir() -> Path:
    """Return the cache directory: $PIOT_CACHE, else /var/cache/piot-dev."""
    path = Path(os.environ.get("PIOT_CACHE") or "/var/cache/piot-dev").resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


def say(text: str) -> None:
    """Tell the person who waits what is being done."""
    print(f"  · {text}", file=sys.stderr, flush=True)


def key(*parts: str) -> str:
    """Return a short name for the contents of `parts`."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@contextmanager
def locked(name: str, timeout: float = LOCK_SECONDS) -> Iterator[None]:
    """Hold the lock `name` of the cache; raise TimeoutError if another process keeps it."""
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    until = time.monotonic() + timeout
    with (folder / f"{name}.lock").open("w") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(f"{name}: another process held the lock too long") from None
                if not told:
                    say(f"waiting for another process that builds {name}")
                    told = True
                time.sleep(0.2)
        yield


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Return `target`, first letting `build` make it under a temporary name if it is missing."""
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.name):
        if target.exists():
            return target
        part = target.with_name(f"{target.name}.part")
        # Under the lock, what bears this name is the rest of a build that was killed.
        remove(part)
        try:
            build(part)
            part.rename(target)
        finally:
            remove(part)
    return target


def remove(path: Path) -> None:
    """Remove a file or tree; refuse to cross into anything still mounted below it."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [m for m in mounts if m == str(path) or m.startswith(f"{path}/")]
    if inside:
        raise RuntimeError(f"not removing {path}: {inside[0]} is mounted")
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
