"""Build the deb, inside a Debian 13 root, so that the result does not depend on this host."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from tests.kit import nspawn, roots
from tests.kit.cache import build_once, cache_dir, key, say

CHECKOUT = Path(__file__).parents[2]
DIST = CHECKOUT / "dist"

# All that goes into the package; a change to anything else does not build it anew.
INPUTS = (
    "piot_firstboot/**/*.py",
    "bin/*",
    "units/**/*",
    "cloud-init/**/*",
    "completion/*",
    "examples/**/*",
    "docs/*.[1-8]",
    "debian/**/*",
    "setup.py",
    "pyproject.toml",
    "stdeb.cfg",
    "MANIFEST.in",
    "LICENSE",
    "README.md",
)

BUILD_PACKAGES = (
    "debhelper dh-python dpkg-dev fakeroot lintian python3-all python3-setuptools python3-stdeb"
).split()

# Raise when the way of building changes.
REVISION = "1"
OFFLINE = ("--private-network",)


def deb(*, stdeb: bool = False) -> Path:
    """Return the deb of this checkout, dist/piot_<version>_all.deb; build it if inputs changed."""
    return built(inputs(), stdeb=stdeb, to=DIST / "stdeb" if stdeb else DIST)


def inputs(checkout: Path = CHECKOUT) -> dict[str, bytes]:
    """Read everything that goes into the package; a leading "x" or "-" tells what is executable."""
    found = {}
    for pattern in INPUTS:
        for path in checkout.glob(pattern):
            if path.is_file() and "__pycache__" not in path.parts:
                mark = b"x" if path.stat().st_mode & 0o100 else b"-"
                found[str(path.relative_to(checkout))] = mark + path.read_bytes()
    return dict(sorted(found.items()))


def built(files: dict[str, bytes], *, stdeb: bool = False, to: Path) -> Path:
    """Return the deb made of `files`, copied into the directory `to`."""
    digest = sha256(json.dumps([REVISION, stdeb, *BUILD_PACKAGES]).encode())
    for name, data in files.items():
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    folder = cache_dir() / "debs" / digest.hexdigest()[:16]
    build_once(folder, lambda part: build(files, part, stdeb=stdeb))
    source = next(folder.glob("*.deb"))
    target = to / source.name
    to.mkdir(parents=True, exist_ok=True)
    if not target.exists() or target.read_bytes() != source.read_bytes():
        shutil.copyfile(source, target)
    return target


def build(files: dict[str, bytes], folder: Path, *, stdeb: bool = False) -> None:
    """Build the deb of `files` into `folder`, without network."""
    root = roots.base("trixie", BUILD_PACKAGES)
    say("building the package" + (" with stdeb" if stdeb else ""))
    with scratch(root) as tree:
        # A compiler, of build-essential, is among what would be asked for.
        (tree / "etc/dpkg/buildpackage.conf").write_text("no-check-builddeps\n")
        place = tree / "build/piot"
        for name, data in files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[1:])
            path.chmod(0o755 if data[:1] == b"x" else 0o644)
        if stdeb:
            place = with_stdeb(tree, place)
        run(tree, f"cd /{place.relative_to(tree)} && dpkg-buildpackage --build=binary --no-sign")
        found = list(place.parent.glob("*.deb"))
        assert len(found) == 1, found
        folder.mkdir(parents=True)
        shutil.copyfile(found[0], folder / found[0].name)


def with_stdeb(tree: Path, place: Path) -> Path:
    """Let stdeb make a Debian source tree of `place`; return where it is."""
    ours = place / "debian"
    run(tree, "cd /build/piot && python3 setup.py --command-packages=stdeb.command sdist_dsc")
    made = next((place / "deb_dist").glob("piot-*/"))
    # stdeb makes control, the list of sources and Depends. It has no words for version and date,
    # licence and what happens at installation, and knows no debhelper level above 9.
    for name in ("changelog", "copyright", "rules", "postinst", "prerm", "postrm", "triggers"):
        shutil.copy(ours / name, made / "debian" / name)
    (made / "debian/compat").write_text("13\n")
    (made / "debian/source/format").write_text("3.0 (native)\n")
    return made


def lintian(package: Path) -> str:
    """Return what lintian finds in a deb: errors and warnings, one a line."""
    with scratch(roots.base("trixie", BUILD_PACKAGES)) as tree:
        (tree / "build").mkdir()
        shutil.copyfile(package, tree / "build" / package.name)
        script = (
            f"setpriv --reuid=65534 --regid=65534 --clear-groups "
            f"lintian --tag-display-limit 0 --fail-on none /build/{package.name}"
        )
        return run(tree, script)


def machine_root(release: str, package: Path, layer: Sequence[str] = ()) -> roots.Root:
    """Return the root of a release with a deb installed, cached by the deb's content."""

    def install(tree: Path) -> None:
        say(f"installing {package.name} on Debian {release}")
        shutil.copyfile(package, tree / "var/tmp" / package.name)
        run(tree, f"apt-get -q -y install /var/tmp/{package.name}")
        (tree / "var/tmp" / package.name).unlink()

    return roots.derive(
        roots.base(release, layer), f"piot-{sha256(package.read_bytes()).hexdigest()[:12]}", install
    )


@contextmanager
def scratch(root: roots.Root) -> Iterator[Path]:
    """Mount a root writable and throw the changes away afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="build-", dir=cache_dir()))
    try:
        with roots.mounted(root, folder) as tree:
            yield tree
    finally:
        shutil.rmtree(folder)


def run(tree: Path, script: str) -> str:
    """Run a shell script in a mounted root, without network."""
    name = f"piot-build-{key(str(tree))}"
    return nspawn.run_in(tree, ["/bin/sh", "-ec", script], name=name, options=OFFLINE)


def main() -> int:
    """Build and say where the deb is."""
    parser = argparse.ArgumentParser(prog="./dev deb", description=__doc__)
    parser.add_argument("--stdeb", action="store_true", help="the quick one, made by stdeb")
    options = parser.parse_args()
    try:
        package = deb(stdeb=options.stdeb)
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    print(package.relative_to(CHECKOUT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
