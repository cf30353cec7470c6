"""What the package is and what is in it: the one list that both ways of building the deb read."""

import os
import re
import sys
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
os.chdir(HERE)


def version() -> str:
    """Return the version, which is kept in one place."""
    text = Path("piot_firstboot/__init__.py").read_text()
    match = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert match, "no __version__ in piot_firstboot/__init__.py"
    return match[1]


def files(target: str, *patterns: str) -> tuple[str, list[str]]:
    """Return an entry of data_files: what matches the patterns goes to the directory `target`."""
    return target, sorted(str(path) for pattern in patterns for path in Path().glob(pattern))


def tree(target: str, source: str) -> list[tuple[str, list[str]]]:
    """Return entries of data_files that rebuild the directory `source` below `target`."""
    found = []
    for folder, names, _ in sorted(os.walk(source)):
        names[:] = [name for name in names if name != "__pycache__"]
        inner = Path(folder).relative_to(source)
        plain = [str(p) for p in sorted(Path(folder).iterdir()) if p.is_file()]
        found.append((str(Path(target, inner)), plain))
    return found


# Everything that is no Python module. It is here, and not in debian/piot.install, because stdeb
# knows nothing of debian/: so the released deb and the quick one cannot differ. Relative targets
# are below /usr; the absolute one is a directory that cloud-init alone decides.
DATA = [
    files("lib/systemd/system", *(f"units/*.{k}" for k in ("service", "timer", "path", "socket"))),
    files("lib/systemd/system/piot-.service.d", "units/piot-.service.d/*.conf"),
    files("lib/systemd/system/piot-.timer.d", "units/piot-.timer.d/*.conf"),
    files("lib/systemd/system/piot-.path.d", "units/piot-.path.d/*.conf"),
    files("lib/systemd/system-preset", "units/*.preset"),
    files("share/piot/cloud-init", "cloud-init/part_handler.py"),
    files("share/doc/piot/cloud-init", "cloud-init/vendor-data", "cloud-init/user-data"),
    files("/etc/cloud/clean.d", "cloud-init/clean.d/*"),
    files("share/doc/piot", "README.md"),
    *tree("share/doc/piot/examples", "examples"),
    files("share/bash-completion/completions", "completion/piot"),
    files("share/piot", "docs/piot.schema.json"),
    files("share/man/man1", "docs/*.1"),
    files("share/man/man5", "docs/*.5"),
]

# pip builds a wheel, for laptops: the verbs that need no device, on any operating system. The deb
# is made by `setup.py install`, and has all. What only a device imports is not asked of a laptop.
LAPTOP = "bdist_wheel" in sys.argv or "editable_wheel" in sys.argv or "dist_info" in sys.argv
DEVICE = [] if LAPTOP else ["requests", "sdnotify", "systemd-python"]

ABOUT = """\
PioT makes a device out of two text files: piot.conf on the boot partition, and .piot.yaml in the
git repository of the app that the device runs. Both become plain systemd units.
"""

setup(
    name="piot",
    version=version(),
    description="turn piot.conf and a git repository into systemd units",
    long_description=ABOUT,
    author="The PioT authors",
    author_email="piot@piot.invalid",
    license="MIT",
    python_requires=">=3.11",
    # The only list of what PioT needs; dh_python3 makes the deb's Depends of it.
    install_requires=["pyyaml", *DEVICE, *(['tzdata; sys_platform == "win32"'] if LAPTOP else [])],
    packages=find_packages(include=["piot_firstboot", "piot_firstboot.*"]),
    # A script, not a console_scripts entry: the wrapper made for those imports importlib.metadata
    # or site at every start, which costs more than an idle poll.
    # On a laptop the launcher has to be made by pip, for its Python and its operating system.
    scripts=[] if LAPTOP else ["bin/piot"],
    entry_points={"console_scripts": ["piot = piot_firstboot.__main__:run"]} if LAPTOP else {},
    data_files=[] if LAPTOP else [(target, names) for target, names in DATA if names],
)
