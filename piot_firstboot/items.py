"""What a desired state consists of: files, links, lines, accounts, units and the like."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class File:
    """A regular file that is wholly PioT's. `secret` keeps its content out of every report.

    `check` is a command that must accept the new content before it replaces the old one; the
    word `{}` in it stands for the path of the temporary file (`visudo -cf {}`). With `keep` the
    file stays when it is no longer wanted, because the machine needs one.
    """

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    secret: bool = False
    check: tuple[str, ...] = ()
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory; removed again only when it is empty."""

    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link with this literal target; `keep` as of a File."""

    path: str
    target: str
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines within a file that others write too.

    Present lines stay where they are, missing ones are appended; lines that PioT added earlier
    and no longer wants are taken out. Any other line with `replaces` for its first word is dropped.
    """

    path: str
    lines: tuple[str, ...]
    replaces: str = ""
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"


@dataclass(frozen=True, slots=True)
class Word:
    """One `name=value` within the single line of a file (the kernel's, in cmdline.txt).

    The file is left alone where there is none.
    """

    path: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class State:
    """A piece of the running system that is no file, such as the kernel's host name.

    `live` knows how each `name` is read and set.
    """

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret in PioT's own store, sealed where the system can."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Package:
    """A Debian package that shall be installed; it stays when it is no longer wanted."""

    name: str


@dataclass(frozen=True, slots=True)
class Login:
    """A person's account. None leaves a property as it is; accounts are never removed.

    `password_hash` is in crypt(5) format. `groups` are added, and those in `not_groups` left.
    """

    name: str
    password_hash: str | None = field(default=None, repr=False)
    groups: tuple[str, ...] = ()
    not_groups: tuple[str, ...] = ()
    shell: str = "/bin/bash"


@dataclass(frozen=True, slots=True)
class SystemUser:
    """A system user and group of the same name, without a login (systemd-sysusers)."""

    name: str
    home: str
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """What a unit shall be doing.

    `enabled` and `active` None leave that as it is. When one of the files in `because` changed,
    `on_change` says what an already active unit must do: `restart`, `reload` or nothing; with
    `start` the unit is started whenever they changed, active or not (a job that runs once a
    commit). For those in `restart_for` a reload would not do. `wait` bounds the start in seconds.
    """

    name: str
    active: bool | None = None
    enabled: bool | None = None
    on_change: str = ""
    because: tuple[str, ...] = ()
    restart_for: tuple[str, ...] = ()
    wait: float = 90.0


Item = (
    File
    | Directory
    | Symlink
    | Lines
    | Word
    | State
    | Credential
    | Package
    | Login
    | SystemUser
    | Unit
)


def key(item: Item) -> str:
    """Name an item as the ownership record does: its kind, a blank, its path or name."""
    match item:
        case Word(path=path, name=name):
            return f"word {path} {name}"
        case File(path=name) | Directory(path=name) | Symlink(path=name) | Lines(path=name):
            return f"{_KINDS[type(item)]} {name}"
        case _:
            return f"{_KINDS[type(item)]} {item.name}"


_KINDS: dict[type, str] = {
    File: "file",
    Directory: "directory",
    Symlink: "symlink",
    Lines: "lines",
    State: "state",
    Credential: "secret",
    Package: "package",
    Login: "login",
    SystemUser: "user",
    Unit: "unit",
}
