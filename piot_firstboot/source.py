"""What the folder of an app declares: its .piot.yaml, or its Procfile where there is none."""

from __future__ import annotations

from collections.abc import Callable

from piot_firstboot import manifest, procfile
from piot_firstboot.manifest import Manifest

MANIFEST = ".piot.yaml"
# Returns the content of a file of the folder, None where there is none of that name.
Read = Callable[[str], bytes | None]


def read(contents: Read, prefix: str = "", path: str = MANIFEST) -> Manifest | None:
    """Read and judge what a folder declares; None where it has neither of the two files.

    `prefix` goes before names in messages. `path` is where the manifest lies; at any other place
    than its usual one, no Procfile stands in for it. Raises ConfigError with every problem.
    """
    data = contents(path)
    if data is not None:
        return manifest.parse(data, f"{prefix}{path}")
    data = contents(procfile.NAME) if path == MANIFEST else None
    if data is None:
        return None
    return procfile.parse(data, f"{prefix}{procfile.NAME}", *beside(contents, prefix))


def beside(contents: Read, prefix: str = "") -> tuple[tuple[str, bytes], str]:
    """Return what belongs to a Procfile: the file of variables, and the name of the packages'."""
    env = next(
        ((f"{prefix}{n}", d) for n in procfile.ENV_NAMES if (d := contents(n)) is not None),
        ("", b""),
    )
    # Heroku and piku install these for every app that has one; many a pyproject.toml lists none.
    if contents("requirements.txt") is not None:
        return env, "requirements.txt"
    return env, "pyproject.toml" if b"[project]" in (contents("pyproject.toml") or b"") else ""
