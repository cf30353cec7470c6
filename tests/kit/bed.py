"""What a test bed occupies on this host, under one name, so that it can be swept up later."""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.kit import nspawn
from tests.kit.cache import cache_dir, say

_numbers = itertools.count(1)


def beds_dir() -> Path:
    """Return where the beds' directories are."""
    path = cache_dir() / "beds"
    path.mkdir(exist_ok=True)
    return path


def new_bed() -> Path:
    """Make the directory of a new bed; its name, piot-<pid>-<n>, is also that of its namespaces."""
    folder = beds_dir() / f"piot-{os.getpid()}-{next(_numbers)}"
    folder.mkdir()
    return folder


def keep(folder: Path) -> None:
    """Let this bed outlive the process; only sweep(kept=True) clears it away."""
    (folder / "kept").touch()


def clear(folder: Path) -> None:
    """Kill what runs in the bed `folder` and remove its mounts, namespaces, cgroup and files."""
    name = folder.name
    every = [path.name for path in Path("/run/netns").glob(f"{name}*")]
    namespaces = [netns for netns in every if netns == name or netns.startswith(f"{name}-")]
    for netns in namespaces:
        kill_netns(netns)
    tree = folder / "root"
    until = time.monotonic() + 10
    while os.path.ismount(tree):  # noqa: PTH114 - Path.is_mount() is wrong for a busy overlay
        done = subprocess.run(
            ["umount", "--recursive", str(tree)], capture_output=True, check=False
        )
        if done.returncode and time.monotonic() > until:
            raise RuntimeError(f"cannot unmount {tree}: {done.stderr.decode().strip()}")
        if done.returncode:
            time.sleep(0.1)
    for netns in namespaces:
        if Path("/run/netns", netns).exists():
            subprocess.run(["ip", "netns", "delete", netns], check=True, timeout=30)
    nspawn.Cgroup(name).remove()
    nspawn.forget(name)
    shutil.rmtree(folder)


def kill_netns(netns: str) -> None:
    """Kill every process inside a network namespace and wait until it is gone."""
    if not Path("/run/netns", netns).exists():
        return
    until = time.monotonic() + 15
    while time.monotonic() < until:
        argv = ["ip", "netns", "pids", netns]
        pids = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.02)
    raise RuntimeError(f"processes in {netns} do not die")


def sweep(*, kept: bool = False) -> list[str]:
    """Clear the beds whose process is gone, with kept=True also those left running on purpose."""
    names = []
    for folder in sorted(beds_dir().glob("piot-*")):
        pid = folder.name.split("-")[1]
        if Path("/proc", pid).exists() or ((folder / "kept").exists() and not kept):
            continue
        say(f"clearing {folder.name}, left by an earlier run")
        clear(folder)
        names.append(folder.name)
    return names
