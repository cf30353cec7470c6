"""The one door to the machine: files below a root, and commands.

Every path that PioT reads or writes and every command that it runs goes through a `System`.
With a root other than `/` it prepares an image or a test's tree: files only, nothing is started.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from piot_firstboot import files
from piot_firstboot.errors import ApplyError

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_COMMAND_TIMEOUT = 120.0  # seconds; longer work says so at the call


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands at a path; `kind` is `file`, `directory`, `symlink` or `other`."""

    kind: str
    mode: int
    owner: str
    group: str
    target: str


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended: its exit status and what it printed, decoded as UTF-8."""

    code: int
    out: str
    err: str

    @property
    def reason(self) -> str:
        """The last line that says something, for a message to a person."""
        lines = [line.strip() for line in (self.err or self.out).splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.code}"


class System:
    """A machine, or the tree of one, below `root`."""

    def __init__(self, root: str = "/") -> None:
        """Take the directory that stands for `/`."""
        self.root = os.path.abspath(root)
        self.live = self.root == "/" and os.path.isdir("/run/systemd/system")

    # -- paths and reading ------------------------------------------------------------------

    def path(self, path: str) -> str:
        """Join the root in front, following links in the parents as if the root were `/`."""
        return path if self.root == "/" else files.join(self.root, path)

    def read(self, path: str, most: int = -1) -> bytes | None:
        """Return a file's bytes, or the first so many; None where there is no such file."""
        with files.naming(path):
            try:
                fd = os.open(self.path(path), os.O_RDONLY | os.O_CLOEXEC)
            except (FileNotFoundError, NotADirectoryError):
                return None
            with os.fdopen(fd, "rb") as file:
                return file.read(most)

    def exists(self, path: str) -> bool:
        """Tell whether the path leads to something."""
        return os.path.exists(self.path(path))

    def runnable(self, path: str) -> bool:
        """Tell whether the path leads to a file that may be executed."""
        real = self.path(path)
        return os.path.isfile(real) and os.access(real, os.X_OK)

    def names(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a directory; none where there is no directory."""
        try:
            return tuple(sorted(os.listdir(self.path(path))))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def entry(self, path: str) -> Entry | None:
        """Look at a path without following a link at its end."""
        real = self.path(path)
        try:
            st = os.lstat(real)
        except (FileNotFoundError, NotADirectoryError):
            return None
        kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
        kind = kinds.get(stat.S_IFMT(st.st_mode), "other")
        return Entry(
            kind,
            stat.S_IMODE(st.st_mode),
            self._name("passwd", st.st_uid),
            self._name("group", st.st_gid),
            os.readlink(real) if kind == "symlink" else "",
        )

    def accounts(self, table: str) -> dict[str, list[str]]:
        """Read `passwd`, `group` or `shadow` as name → all fields."""
        text = (self.read(f"/etc/{table}") or b"").decode("utf-8", "replace")
        rows = (line.split(":") for line in text.splitlines())
        return {row[0]: row for row in rows if len(row) > 1}

    def _name(self, table: str, number: int) -> str:
        """Name an owner; the number itself where the root knows no name for it."""
        if number == 0:
            return "root"
        for name, row in self.accounts(table).items():
            if len(row) > 2 and row[2] == str(number):
                return name
        return str(number)

    def _number(self, table: str, name: str) -> int:
        """Resolve an owner inside this root."""
        if name == "root":
            return 0
        row = self.accounts(table).get(name)
        if row is None:
            raise ApplyError(f"there is no {'user' if table == 'passwd' else 'group'} {name}")
        return int(row[2])

    # -- writing ----------------------------------------------------------------------------

    def write(
        self,
        path: str,
        data: bytes,
        mode: int = 0o644,
        owner: str = "root",
        group: str = "root",
        check: Sequence[str] = (),
    ) -> None:
        """Replace a file so that a power cut leaves the old content or the new, whole.

        `check` must accept the new content, in a temporary file put for `{}`, first. Raises
        ApplyError when it does not, OSError when the file system refuses.
        """
        with files.naming(path):
            self.mkdir(os.path.dirname(path))
            files.replace(
                self.path(path),
                data,
                lambda fd: self._own(fd, mode, owner, group),
                (lambda temp: self._check(check, temp, path)) if check else None,
            )

    def overwrite(self, path: str, before: bytes, parts: Mapping[int, bytes]) -> bool:
        """Write parts of a file in place, by offset, if it still holds `before`; tell whether.

        For what must not stay in the blocks that it lies in. Not whole over a power cut.
        """
        return files.overwrite(self.path(path), before, parts)

    def in_memory(self, data: bytes) -> AbstractContextManager[str]:
        """Give programs a file to read that lies on no file system; the path is a real one."""
        return files.in_memory(data)

    def symlink(self, path: str, target: str) -> None:
        """Put a symbolic link at `path`, replacing what is there in one step."""
        self.mkdir(os.path.dirname(path))
        files.relink(self.path(path), target)

    def mkdir(self, path: str, mode: int = 0o755, owner: str = "", group: str = "") -> None:
        """Make a directory and its parents; with an owner, set owner and mode of the last."""
        real = self.path(path)
        if not os.path.isdir(real):
            parent = os.path.dirname(path.rstrip("/"))
            if parent not in ("", "/"):
                self.mkdir(parent)
            with suppress(FileExistsError):
                os.mkdir(real, mode)
        if owner:
            fd = os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._own(fd, mode, owner, group or owner)
            finally:
                os.close(fd)

    def remove(self, path: str) -> bool:
        """Remove a file, a link or an empty directory; tell whether something went."""
        return files.remove(self.path(path))

    def remove_tree(self, path: str) -> None:
        """Remove a directory and all that is in it, never following links."""
        real = self.path(path)
        if os.path.islink(real):
            os.unlink(real)
        elif os.path.isdir(real):
            shutil.rmtree(real)

    def rename(self, old: str, new: str) -> None:
        """Rename within one file system and make it last over a power cut."""
        real = self.path(new)
        os.rename(self.path(old), real)
        files.sync_directory(os.path.dirname(real))

    def hostname(self) -> str:
        """Return the running kernel's host name."""
        return socket.gethostname()

    def set_hostname(self, name: str) -> None:
        """Set the running kernel's host name."""
        socket.sethostname(name)

    def set_clock(self, seconds: float) -> None:
        """Set the wall clock, in seconds since the epoch."""
        time.clock_settime(time.CLOCK_REALTIME, seconds)

    def sync(self, path: str) -> None:
        """Flush the file system that holds a path (syncfs(2), through coreutils' sync -f)."""
        self.run(("sync", "-f", self.path(path)), timeout=600, check=True)

    def _own(self, fd: int, mode: int, owner: str, group: str) -> None:
        """Set owner and mode of an open file."""
        uid, gid = self._number("passwd", owner), self._number("group", group)
        # FAT has neither owners nor modes and refuses both; there the mount options decide.
        with suppress(PermissionError):
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)

    def _check(self, command: Sequence[str], temp: str, path: str) -> None:
        """Let a program judge a file before it takes its place."""
        result = self.run([word.replace("{}", temp) for word in command])
        if result.code != 0:
            reason = result.reason.replace(temp, path)
            raise ApplyError(f"{path}: {command[0]} refuses the new content: {reason}")

    # -- commands ---------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = _COMMAND_TIMEOUT,
        env: Mapping[str, str] | None = None,
        check: bool = False,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """Run a command to its end with a clean environment; kill its group at the timeout.

        `on_line` receives each line of output and errors as it comes, ended by newline or carriage
        return; such a command gets no standard input. A missing program is exit status 127, a
        timeout 124, as in a shell and timeout(1). Raises ApplyError with `check` when it fails.
        """
        full = {"PATH": os.environ.get("PATH", _PATH), "LC_ALL": "C.UTF-8", **(env or {})}
        try:
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if on_line else subprocess.PIPE,
                env=full,
                cwd="/",
                start_new_session=True,
            )
        except FileNotFoundError:
            result = Result(127, "", f"{argv[0]}: not found")
        else:
            with child:
                if on_line:
                    result = _follow(child, timeout, on_line)
                else:
                    result = _wait(child, stdin, timeout)
        if check and result.code != 0:
            raise ApplyError(f"{' '.join(argv[:3])}: {result.reason}")
        return result

    def systemctl(self, *args: str, timeout: float = _COMMAND_TIMEOUT) -> Result:
        """Run systemctl, on the tree's unit files only when the system is not live."""
        where = () if self.live else (f"--root={self.root}",)
        return self.run(("systemctl", *where, *args), timeout=timeout)

    def become(self, argv: Sequence[str]) -> NoReturn:
        """Replace this process by a program that talks to the terminal itself."""
        os.execvp(argv[0], list(argv))

    @contextmanager
    def lock(self, path: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold an exclusive flock(2); yields False when another holds it and `wait` is unset."""
        real = self.path(path)
        os.makedirs(os.path.dirname(real), exist_ok=True)
        fd = os.open(real, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(fd)


def _wait(child: subprocess.Popen[bytes], stdin: bytes, timeout: float) -> Result:
    """Feed a command and collect what it prints until it ends or its time is up."""
    try:
        out, err = child.communicate(stdin, timeout)
        code = child.returncode
    except subprocess.TimeoutExpired:
        _kill(child)
        out, err = child.communicate()
        err += f"\nno end after {timeout:.0f} s, stopped".encode()
        code = 124
    return Result(code, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def _follow(
    child: subprocess.Popen[bytes], timeout: float, on_line: Callable[[str], None]
) -> Result:
    """Hand on each line that a command prints, until it closes its output or its time is up."""
    assert child.stdin and child.stdout
    child.stdin.close()
    fd, end, text, rest = child.stdout.fileno(), time.monotonic() + timeout, "", b""
    while left := max(0.0, end - time.monotonic()):
        if not select.select([fd], [], [], left)[0]:
            continue
        data = os.read(fd, 65536)
        *lines, rest = (rest + data).replace(b"\r", b"\n").split(b"\n")
        for line in [*lines, *([] if data else [rest])]:
            if shown := line.decode("utf-8", "replace").strip():
                text += shown + "\n"
                on_line(shown)
        if not data:
            break
    else:
        _kill(child)
        return Result(124, text, f"{text}no end after {timeout:.0f} s, stopped")
    return Result(child.wait(), text, text)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill a command with all it started (it leads its own session)."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
