"""Debian roots to boot or to build in, made once by mmdebstrap, kept as layers in the cache."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit import nspawn
from tests.kit.cache import build_once, cache_dir, key, say

RELEASES = ("trixie", "bookworm")

# All that the deb depends on is in here, so that installing it needs no network.
PACKAGES = (
    "systemd systemd-sysv dbus libpam-systemd dbus-user-session init-system-helpers "
    "python3 python3-yaml python3-requests python3-sdnotify python3-systemd "
    "git ca-certificates openssh-server openssh-client sudo iproute2 procps strace tzdata curl"
).split()

# Work of Debian's own that would run in the middle of a test and blur what is measured.
MASKED = (
    "apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer "
    "e2scrub_reap.service"
).split()

# Raise when customise() changes, so that cached roots are made anew.
REVISION = "2"


@dataclass(frozen=True, slots=True)
class Root:
    """A Debian tree as overlay layers, lowest first; none of them is ever written to again."""

    release: str
    layers: tuple[Path, ...]

    @property
    def name(self) -> str:
        """Return what the cache calls the uppermost layer: the base and all that was added."""
        top = self.layers[-1]
        return top.parent.name if top.name == "upper" else top.name


def base(release: str, layer: Sequence[str] = ()) -> Root:
    """Return a minimal bootable Debian with the packages of `layer` added, building them once."""
    if release not in RELEASES:
        raise ValueError(f"no such release: {release}; there is {' and '.join(RELEASES)}")
    name = f"{release}-{key(REVISION, *PACKAGES, *MASKED)}"
    root = Root(release, (build_once(roots_dir() / name, lambda part: bootstrap(release, part)),))
    if not layer:
        return root
    return derive(root, key(*sorted(layer)), lambda tree: install(tree, sorted(layer)))


def derive(root: Root, name: str, build: Callable[[Path], None]) -> Root:
    """Return `root` with one more layer, holding what `build` changes in the tree it is given."""
    target = roots_dir() / f"{root.name}+{name}"

    def make(part: Path) -> None:
        part.mkdir()
        with mounted(root, part) as tree:
            build(tree)

    build_once(target, make)
    return Root(root.release, (*root.layers, target / "upper"))


@contextmanager
def mounted(root: Root, folder: Path) -> Iterator[Path]:
    """Mount `root` writable at folder/root, changes going to folder/upper; unmount at the end."""
    tree = mount(root, folder)
    try:
        yield tree
    finally:
        unmount(folder)


def mount(root: Root, folder: Path) -> Path:
    """Mount `root` writable at folder/root, changes going to folder/upper; return folder/root."""
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lower = ":".join(str(layer) for layer in reversed(root.layers))
    options = f"lowerdir={lower},upperdir={folder / 'upper'},workdir={folder / 'work'}"
    argv = ["mount", "-t", "overlay", "-o", options, "overlay", str(folder / "root")]
    subprocess.run(argv, check=True, timeout=30)
    return folder / "root"


def unmount(folder: Path) -> None:
    """Undo mount() and remove overlayfs' own scratch directory."""
    subprocess.run(["umount", "--recursive", str(folder / "root")], check=True, timeout=60)
    (folder / "root").rmdir()
    shutil.rmtree(folder / "work")


def roots_dir() -> Path:
    """Return where the layers are kept."""
    return cache_dir() / "roots"


def bootstrap(release: str, part: Path) -> None:
    """Unpack a minimal Debian into `part`."""
    say(f"building a Debian {release} root (once; takes a minute or two)")
    argv = ["mmdebstrap", "--mode=root", "--variant=apt", "--format=directory"]
    argv += [f"--include={','.join(PACKAGES)}", release, str(part)]
    log = part.with_name(f"{release}.log")
    # Else what Debian's Python compiles in there goes to a directory named after ours.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    with log.open("w") as file:
        code = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            timeout=1800,
            check=False,
        ).returncode
    if code:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise RuntimeError(f"mmdebstrap {release} failed ({code}); the end of {log}:\n{end}")
    customise(part)


def customise(tree: Path) -> None:
    """Make a bootstrapped tree the common ground of all machines: no names of this host in it."""
    (tree / "boot/firmware").mkdir(parents=True, exist_ok=True)
    (tree / "etc/hostname").write_text("debian\n")
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost ip6-localhost\n")
    (tree / "etc/resolv.conf").write_text("")
    (tree / "etc/machine-id").write_text("uninitialized\n")
    for stamp in ("etc/.updated", "var/.updated"):
        # Newer than /usr: no catalogues and caches to rebuild at each machine's first boot.
        (tree / stamp).touch()
    for unit in MASKED:
        (tree / "etc/systemd/system" / unit).symlink_to("/dev/null")


def install(tree: Path, packages: Sequence[str]) -> None:
    """Install Debian packages into a mounted tree and leave no package lists behind."""
    say(f"adding {' '.join(packages)}")
    script = (
        "set -e; apt-get -q update; apt-get -q -y --no-install-recommends install "
        + " ".join(packages)
        + "; apt-get clean; rm -rf /var/lib/apt/lists/*"
    )
    name = f"piot-build-{key(str(tree))}"
    nspawn.run_in(tree, ["/bin/sh", "-c", script], name=name)
    (tree / "etc/resolv.conf").write_text("")
