"""Files on the real file system: whole or not at all, and lasting over a power cut.

rename(2) is the only commit point. These are the primitives of `System`, which alone calls those
that write; paths here are real ones, the root already joined in front.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from piot_firstboot.errors import ApplyError

_MOST_LINKS = 40  # as the kernel before it says ELOOP, path_resolution(7)


def join(root: str, path: str) -> str:
    """Join a root in front of a path, following links in the parents as if the root were `/`."""
    done: list[str] = []
    left = path.split("/")[::-1]
    links = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        here = "/".join([root, *done, part])
        if left and os.path.islink(here):
            links += 1
            if links > _MOST_LINKS:
                raise ApplyError(f"{path}: too many links")
            target = os.readlink(here)
            if target.startswith("/"):
                done.clear()
            left.extend(target.split("/")[::-1])
            continue
        done.append(part)
    return "/".join([root, *done])


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Let an error of the file system name the path that a person knows, not a temporary one."""
    try:
        yield
    except OSError as error:
        error.filename = path
        raise


def replace(
    real: str, data: bytes, own: Callable[[int], None], check: Callable[[str], None] | None
) -> None:
    """Put new content at a path: temporary file, owner and mode, fsync, check, rename, fsync."""
    folder, name = os.path.split(real)
    temp = f"{folder}/.{name}.piot"  # a fixed name: what a power cut left is overwritten
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with os.fdopen(os.open(temp, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            own(file.fileno())
            os.fsync(file.fileno())
        if check:
            check(temp)
        os.rename(temp, real)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temp)
        raise
    sync_directory(folder)


def overwrite(real: str, before: bytes, parts: Mapping[int, bytes]) -> bool:
    """Write parts of a file where they lie, unless it is no longer what it was; fsync."""
    with open(real, "r+b", buffering=0) as file:
        if b"".join(iter(lambda: file.read(65536), b"")) != before:
            return False
        for offset, data in parts.items():
            os.pwrite(file.fileno(), data, offset)
        os.fsync(file.fileno())
    return True


@contextmanager
def in_memory(data: bytes) -> Iterator[str]:
    """Hold bytes in memory and yield the path by which the programs of this user can read them."""
    fd = os.memfd_create("piot")
    try:
        os.fchmod(fd, 0o600)  # ssh refuses a key that others could read
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        yield f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)


def remove(real: str) -> bool:
    """Remove a file, a link or an empty directory; tell whether something went."""
    try:
        if os.path.isdir(real) and not os.path.islink(real):
            os.rmdir(real)
        else:
            os.unlink(real)
    except FileNotFoundError:
        return False
    except OSError:
        if os.path.isdir(real):  # it holds something that is not ours
            return False
        raise
    sync_directory(os.path.dirname(real))
    return True


def relink(real: str, target: str) -> None:
    """Put a symbolic link at a path, replacing what is there in one step."""
    folder, name = os.path.split(real)
    temp = f"{folder}/.{name}.piot"  # a fixed name: what a power cut left is overwritten
    with suppress(FileNotFoundError):
        os.unlink(temp)
    os.symlink(target, temp)
    try:
        os.rename(temp, real)
    except OSError:
        os.unlink(temp)
        raise
    sync_directory(folder)


def sync_directory(folder: str) -> None:
    """Make renames and removals in a directory last."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def space(real: str) -> tuple[int, int]:
    """Return how many bytes and how many files more the file system below a path takes."""
    found = os.statvfs(real)
    # Some file systems make inodes as they go, and say 0 of 0.
    files = found.f_favail if found.f_files else 1 << 62
    return found.f_bavail * found.f_frsize, files


def usage(real: str) -> tuple[int, int]:
    """Return the bytes that a tree occupies, and its files; those that other trees share, not."""
    size = count = 0
    for folder, _, names in os.walk(real):
        for name in (".", *names):
            with suppress(FileNotFoundError):
                st = os.lstat(f"{folder}/{name}")
                if name == "." or st.st_nlink == 1:
                    size += st.st_blocks * 512
                    count += 1
    return size, count
