"""How systemd-nspawn is called, on hosts with and without systemd, with cgroup v1, hybrid or v2."""

import contextlib
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

# A host with legacy or hybrid cgroups would else give the machine the same; systemd 257 refuses.
ENVIRONMENT = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}


def host_has_systemd() -> bool:
    """Tell whether this host itself was booted with systemd."""
    return Path("/run/systemd/system").is_dir()


class Cgroup:
    """A cgroup of its own for one container, needed where no systemd makes a scope for it."""

    def __init__(self, name: str) -> None:
        hybrid = Path("/sys/fs/cgroup/unified")
        self.path = (hybrid if hybrid.is_dir() else hybrid.parent) / name

    def join(self, argv: Sequence[str]) -> list[str]:
        """Return `argv` wrapped so that it runs inside this cgroup."""
        if host_has_systemd():
            return list(argv)
        self.path.mkdir(exist_ok=True)
        script = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
        return ["/bin/sh", "-c", script, str(self.path), *argv]

    def remove(self, timeout: float = 5) -> None:
        """Remove the cgroup and those below; the kernel may need a moment after the last exit."""
        # On a hybrid host nspawn makes the same path in systemd's own hierarchy too.
        both = [self.path, Path("/sys/fs/cgroup/systemd", self.path.name)]
        until = time.monotonic() + timeout
        while (left := [path for path in both if path.is_dir()]) and time.monotonic() < until:
            for path in left:
                for folder in sorted(path.rglob("*"), key=lambda p: -len(p.parts)):
                    if folder.is_dir():
                        with contextlib.suppress(OSError):
                            folder.rmdir()
                with contextlib.suppress(OSError):
                    path.rmdir()
                if path.is_dir():
                    time.sleep(0.05)


def command(root: Path, name: str, *options: str) -> list[str]:
    """Return the nspawn call for the tree `root`, not known to machined, called `name`."""
    argv = ["systemd-nspawn", "--quiet", f"--directory={root}", f"--machine={name}"]
    argv += ["--register=no", *options]
    if not host_has_systemd():
        argv.append("--keep-unit")
    return argv


def forget(name: str) -> None:
    """Remove the directory that nspawn leaves in /run where /run is not a tmpfs."""
    with contextlib.suppress(OSError):
        Path("/run/systemd/nspawn/propagate", name).rmdir()


def run_in(
    root: Path,
    argv: Sequence[str],
    *,
    name: str,
    options: Sequence[str] = (),
    timeout: float = 1500,
) -> str:
    """Run a command in the unbooted tree `root`, on the host's network; return what it printed."""
    cgroup = Cgroup(name)
    # The host's zone would be bound over /etc/localtime, and tzdata then could not be installed.
    host = ("--resolv-conf=replace-host", "--timezone=off", "--link-journal=no")
    nspawn = command(root, name, "--pipe", *host, *options)
    nspawn += ["--setenv=DEBIAN_FRONTEND=noninteractive", "--setenv=LANG=C.UTF-8", *argv]
    try:
        done = subprocess.run(
            cgroup.join(nspawn),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    finally:
        cgroup.remove()
        forget(name)
    # nspawn's own word about its directory in /run, which forget() has removed.
    lines = [x for x in done.stdout.splitlines() if not x.startswith("Attempted to remove disk")]
    if done.returncode:
        end = "\n".join(lines[-30:])
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{end}")
    return "\n".join(lines)
