"""piot init: write a first .piot.yaml for a repository, and say what it was made of."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from piot_firstboot import beside, detect, manifest, procfile, source
from piot_firstboot.detect import Draft
from piot_firstboot.errors import ApplyError, ConfigError
from piot_firstboot.folder import Folder


def init(directory: str, *, from_procfile: bool = False, force: bool = False) -> Draft:
    """Write .piot.yaml into a directory; one that is there stays, unless `force` is given.

    Raises ApplyError when there is one, or no Procfile where one was asked for, and ConfigError
    for the problems of a Procfile.
    """
    folder = Folder(directory)
    if not folder.path.is_dir():
        raise ApplyError(f"{directory}: no such directory")
    if folder.exists(source.MANIFEST) and not force:
        path = folder.path / source.MANIFEST
        raise ApplyError(f"{path} is there already", "piot init --force replaces it")
    name = folder.path.resolve().name
    if from_procfile:
        if not folder.exists(procfile.NAME):
            raise ApplyError(f"{folder.path / procfile.NAME}: there is none", "run: piot init")
        draft = detect.from_procfile(folder.read, name)
    else:
        draft = detect.detect(folder.names, folder.read, folder.runnable, name)
    _check(draft, folder)
    folder.write(source.MANIFEST, draft.text.encode())
    return replace(draft, path=str(folder.path / source.MANIFEST))


def _check(draft: Draft, folder: Folder) -> None:
    """Make sure that what is written would pass `piot check`."""
    declared = manifest.parse(draft.text.encode())
    missing = tuple(beside.missing(declared, folder, folder.read, draft.text.splitlines()))
    if missing:
        raise ConfigError(missing)
    assert not list(beside.past(declared, datetime.now(UTC), []))
