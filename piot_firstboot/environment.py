"""Python environments: made once for the same requirements, shared by the releases that need them.

An environment lies beside the releases, in venvs/KEY, where KEY tells all that it is made of, and
a release has a link `.venv` to it. Its scripts name their interpreter by the full path, so it can
be neither moved nor copied; and nothing writes to it once it is made, so it need not be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from hashlib import blake2b

from piot_firstboot import confined, requirements
from piot_firstboot.confined import Task, as_words
from piot_firstboot.errors import Unfit
from piot_firstboot.manifest import Needs
from piot_firstboot.state import folder
from piot_firstboot.system import System

Read = Callable[[str], bytes | None]

LINK = ".venv"
PACKAGES = ("python3-venv",)  # what Debian leaves out of python3
_PARTIAL = ".partial"
_RECIPE = "1"  # raise when environments are made in another way
# -I, -P: a file of the release that is called like a module of Python must not be taken for it.
_VENV = ("/usr/bin/python3", "-I", "-m", "venv", "--system-site-packages")
_PIP = ("-P", "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
_PIP_OPTIONS = ("--progress-bar=off", "--no-warn-script-location")
# Where Debian keeps what `venv` unpacks into each environment. Run from there, pip costs an
# environment neither 25 MB nor the seconds to write and compile 1,700 files.
_WHEELS = "/usr/share/python-wheels"


def place(app: str) -> str:
    """Return the directory of an app's environments."""
    return f"{folder(app)}/venvs"


def provide(
    system: System,
    task: Task,
    needs: Needs,
    files: Callable[[Iterable[str]], str],
    say: Callable[[str], None],
) -> str:
    """Make the environment that a release needs unless there is one; return its key.

    `task` runs in the release, whose only writable place is its partial directory. `files` tells
    one state of some of its files from another. Raises Unfit or Lacking as `confined.run` does.
    """
    assert needs.python is not None
    ((partial, final),) = task.writable
    if system.entry(f"{partial}/{LINK}"):
        hint = f"it is made on each device: git rm -r --cached {LINK}; echo {LINK} >>.gitignore"
        raise Unfit(f"the repository has a {LINK} of its own", hint)

    def read(name: str) -> bytes | None:
        there = system.entry(f"{partial}/{name}")
        return system.read(f"{partial}/{name}") if there and there.kind == "file" else None

    wanted, whole, parts = _wanted(needs, read)
    parts = [*parts, _version(system), _RECIPE, repr(needs.apt), files(whole)]
    parts += [f"{name}={value}" for name, value in task.env if name.startswith("PIP_")]
    if "" in whole:
        parts.append(task.commit)
    key = blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=10).hexdigest()
    made = f"{place(task.app)}/{key}"
    if not system.exists(made):
        say("making the Python environment")
        _make(system, replace(task, title="python"), made, wanted, building="" in whole)
    else:
        say("the Python environment is there already")
    system.symlink(f"{partial}/{LINK}", made)
    return key


def foreseen(needs: Needs, read: Read, commit: str) -> tuple[str, ...]:
    """Return what tells one environment from another, as far as files say; () for none.

    Raises Unfit.
    """
    if needs.python is None:
        return ()
    wanted, whole, parts = _wanted(needs, read)
    return (*wanted, *parts, *((commit,) if "" in whole else ()))


def _wanted(needs: Needs, read: Read) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """Return pip's arguments, the places they install from, and what they are made of.

    `read` returns a file of the release, None where there is none.
    """
    assert needs.python is not None
    path = needs.python.file
    if not path:
        return ("--", *needs.python.requirements), (), list(needs.python.requirements)
    if path.endswith(".toml"):
        data = read(path)
        if data is None:
            raise Unfit(f"needs python: there is no {path} in the release")
        try:
            package, depends = requirements.project(data)
        except ValueError as error:
            raise Unfit(f"needs python: {path}: {error}") from None
        if package:
            # It becomes part of its environment, which then holds for this commit alone.
            home = path.rpartition("/")[0]
            return ("--", f"./{home}"), ("",), [data.decode()]
        return ("--", *depends), (), list(depends)
    sources = requirements.follow(path, read)
    if sources.missing:
        raise Unfit(f"needs python: there is no {sources.missing[0]} in the release")
    texts = [f"{name}\n{data.decode('utf-8', 'replace')}" for name, data in sources.texts]
    return ("-r", path), sources.local, texts


def _version(system: System) -> str:
    """Return the version of Python that an environment belongs to, as in `3.13`."""
    words = system.run(("python3", "--version"), check=True).out.split()
    return ".".join(words[-1].split(".")[:2])


def _make(
    system: System, task: Task, made: str, wanted: tuple[str, ...], *, building: bool
) -> None:
    """Make an environment, flush it, then publish it by rename."""
    fresh = f"{made}{_PARTIAL}"
    system.remove_tree(fresh)
    system.mkdir(fresh, 0o755)
    # A project that is built writes beside its sources.
    both = (*task.writable, (fresh, made)) if building else ((fresh, made),)
    seen = task.readable if building else (*task.readable, *task.writable)
    task = replace(task, writable=both, readable=seen)
    pip = [name for name in system.names(_WHEELS) if name.startswith("pip-")]
    bare = ("--without-pip",) if pip else ()
    confined.run(system, replace(task, words=as_words((*_VENV, *bare, made))))
    if wanted != ("--",):
        env = (*task.env, *(("PYTHONPATH", f"{_WHEELS}/{name}") for name in pip[-1:]))
        words = (f"{made}/bin/python", *_PIP, *_PIP_OPTIONS, *wanted)
        confined.run(system, replace(task, words=as_words(words), env=env))
    system.sync(fresh)
    system.rename(fresh, made)


def prune(system: System, app: str, releases: Iterable[str]) -> None:
    """Remove the environments that none of these release directories links to."""
    kept = set(_linked(system, releases))
    for name in system.names(place(app)):
        path = f"{place(app)}/{name}"
        if path in kept:
            continue
        if not name.endswith(_PARTIAL):
            # Out of its name first: cut off half-way, it must not be taken for whole.
            system.remove_tree(f"{path}{_PARTIAL}")
            system.rename(path, f"{path}{_PARTIAL}")
            path = f"{path}{_PARTIAL}"
        system.remove_tree(path)


def _linked(system: System, releases: Iterable[str]) -> Iterator[str]:
    """Yield the environments that releases link to."""
    for release in releases:
        link = system.entry(f"{release}/{LINK}")
        if link and link.kind == "symlink":
            yield link.target


def key(system: System, release: str) -> str:
    """Return the key of the environment that a release has, or ""."""
    return "".join(_linked(system, (release,))).rpartition("/")[2]


def broken(system: System, release: str) -> bool:
    """Tell whether a release links to an environment that is not there."""
    return any(not system.exists(path) for path in _linked(system, (release,)))
