"""What a checked-out commit needs before it can be published: packages, environment, build.

What it was made of is kept in staged/COMMIT, so that later releases can tell what they change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import blake2b

from piot_firstboot import confined, envfile, environment, packages, repository, watched
from piot_firstboot.command import Command
from piot_firstboot.confined import Task
from piot_firstboot.errors import ApplyError, Lacking, Unfit
from piot_firstboot.manifest import Manifest
from piot_firstboot.notify import say
from piot_firstboot.render import app_exec
from piot_firstboot.state import folder
from piot_firstboot.system import System
from piot_firstboot.watched import Blob

SCHEMA = 1
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def made_of(app: str, commit: str) -> str:
    """Return the file that says what a release was made of."""
    return f"{folder(app)}/staged/{commit}"


def prepare(
    system: System,
    app: str,
    commit: str,
    partial: str,
    final: str,
    declared: Manifest,
    read: Callable[[str], bytes],
) -> None:
    """Install, make and build what the manifest asks for; `partial` will be called `final`.

    `read` returns a file of the release, or raises LookupError with a message for people.

    Raises Unfit when the commit is at fault, Lacking or another ApplyError when the device is.
    """
    needs = declared.needs
    tree = watched.listing(repository.listing(system, app, commit))
    if not system.live:
        if needs.apt or needs.python or declared.build:
            say("nothing is installed or built on a tree; the device does so by itself")
        _remember(system, app, commit, tree, declared)
        return
    _packages(system, declared)
    task = Task(
        app=app,
        commit=commit,
        title="build",
        words=(),
        directory=final,
        writable=((partial, final),),
        env=(
            ("PATH", f"{final}/{environment.LINK}/bin:{final}/node_modules/.bin:{_PATH}"),
            ("PYTHONUNBUFFERED", "1"),
            *_env(declared, read).items(),
            ("PIOT_APP", app),
            ("PIOT_COMMIT", commit),
            ("PIOT_RELEASE", final),
        ),
    )
    if needs.python:

        def state(places: Iterable[str]) -> str:
            places = tuple(places)
            return watched.digest(tree, places) if places else ""

        key = environment.provide(system, task, needs, state, say)
        place = f"{environment.place(app)}/{key}"
        task = confined.reading(task, place)
    if declared.build:
        say(f"building {commit[:12]}")
        confined.run(system, confined.running(task, _words(declared.build)))
    _remember(system, app, commit, tree, declared)


def _packages(system: System, declared: Manifest) -> None:
    """Install the Debian packages that are missing; raises Unfit for one that does not exist."""
    needs = declared.needs
    wanted = (*needs.apt, *(environment.PACKAGES if needs.python else ()))
    missing = packages.missing(system, wanted)
    if not missing:
        return
    try:
        packages.install(system, missing, say)
    except packages.Unknown as error:
        raise Unfit(f"needs apt: {error}", error.hint) from None
    except ApplyError as error:
        raise Lacking(f"needs apt: {error}", error.hint) from None


def _env(declared: Manifest, read: Callable[[str], bytes]) -> dict[str, str]:
    """Return the variables that the author gives the whole app, as its units get them."""
    path = declared.env_file
    try:
        given = envfile.parse(read(path), path) if path else ()
    except LookupError as error:
        raise Unfit(f"env_file: {error.args[0]}") from None
    return {**dict(given), **dict(declared.env)}


def _words(command: Command) -> tuple[str, ...]:
    """Return the words of a build as the sandbox takes them, variables as `${NAME}`."""
    if command.shell:
        return ("/bin/sh", "-c", *map(app_exec.spelled, command.words))
    return tuple(map(app_exec.spelled, command.words))


# -- what a release was made of -----------------------------------------------------------------


def _remember(
    system: System, app: str, commit: str, tree: tuple[Blob, ...], declared: Manifest
) -> None:
    """Write down what decides whether a later release changes anything for a service."""
    said = {
        "schema": SCHEMA,
        "build": repr(declared.build),
        "files": [[blob.mode, blob.object, blob.path] for blob in tree],
    }
    text = json.dumps(said, separators=(",", ":")) + "\n"
    system.write(made_of(app, commit), text.encode(), 0o600)


@dataclass(frozen=True, slots=True)
class Made:
    """What a release was made of: the files of its commit, its build, its environment."""

    files: tuple[Blob, ...]
    build: str
    python: str

    def fingerprint(self, globs: Iterable[str]) -> str:
        """Tell what a service that watches these globs runs on from anything else."""
        parts = (watched.digest(self.files, globs), self.build, self.python)
        return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


def made(system: System, app: str, commit: str, release: str) -> Made | None:
    """Return what a release was made of; None where that is not known, or it is not whole."""
    data = system.read(made_of(app, commit)) if system.exists(release) else None
    values = json.loads(data) if data else {}
    if values.get("schema") != SCHEMA or environment.broken(system, release):
        return None
    files = tuple(Blob(path, mode, name) for mode, name, path in values["files"])
    return Made(files, values["build"], environment.key(system, release))


def prune(system: System, app: str, kept: Iterable[str]) -> None:
    """Forget what was made for releases that are gone."""
    commits = set(kept)
    for name in system.names(f"{folder(app)}/staged"):
        if name not in commits:
            system.remove(f"{folder(app)}/staged/{name}")
    environment.prune(system, app, (f"{folder(app)}/releases/{commit}" for commit in commits))
