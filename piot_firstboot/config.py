"""piot.conf → Config: every value typed, every problem of the file at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from piot_firstboot import conftext, remote, settings
from piot_firstboot.confkeys import Found, Judge
from piot_firstboot.confproblems import Problems
from piot_firstboot.errors import ConfigError, Problem
from piot_firstboot.values import BadValue, usable_hash

NAME = "piot.conf"


@dataclass(frozen=True, slots=True)
class Device:
    """What the device calls itself; `hostname` may hold placeholders."""

    hostname: str | None
    timezone: str | None


@dataclass(frozen=True, slots=True)
class Account:
    """A person who logs in; `line` is where the section stands. `sudo` None was not given."""

    name: str
    password_hash: str | None = field(repr=False)
    authorized_keys: tuple[str, ...]
    sudo: str | None
    line: int


@dataclass(frozen=True, slots=True)
class Ssh:
    """The SSH server; None leaves things as they are. Its keys are in the main account."""

    enabled: bool | None
    password_login: bool | None


@dataclass(frozen=True, slots=True)
class App:
    """An app: `ref` empty is the remote's HEAD, `poll` in seconds, None is off."""

    name: str
    repo: str
    ref: str
    poll: float | None
    line: int


@dataclass(frozen=True, slots=True)
class Config:
    """What a piot.conf says, all of it judged good."""

    device: Device
    accounts: tuple[Account, ...]
    ssh: Ssh
    apps: tuple[App, ...]
    secrets: tuple[tuple[str, str], ...] = field(repr=False)


def parse(data: bytes, source: str = NAME, *, zones: Collection[str] = ()) -> Config:
    """Read and judge a piot.conf; raises ConfigError with every problem in it.

    `zones` are the time zones of this device; without them any that looks like one is taken.
    """
    try:
        lines, blocks = conftext.read(data)
    except conftext.NotText as error:
        raise ConfigError([Problem(source, 0, 0, str(error), error.hint)]) from None
    problems = Problems(source, lines)
    judge = Judge(problems, {"zones": zones})
    found = judge.sections(blocks)
    apps = [part for part in found if part.section.name == "app"]
    users = [part for part in found if part.section.name == "user"]
    ssh = _first(found, "ssh")
    main = next((part for part in users if "." not in part.block.name), None)
    _judge_apps(judge, apps)
    _judge_names(judge, users, "users")
    _judge_main(judge, ssh, main)
    # A refused key or hash may be the way in: no second complaint about its absence.
    if all(part.clean for part in found if part.section.name in ("user", "ssh")):
        _judge_way_in(judge, users, ssh, main)
    if problems.count:
        raise ConfigError(problems.bounded())
    return _config(found, apps, users, main)


def _config(
    found: list[Found], apps: list[Found], users: list[Found], main: Found | None
) -> Config:
    """Put a file without problems into its dataclasses."""
    device, ssh, secrets = (_first(found, name) for name in ("device", "ssh", "secrets"))
    login = _arguments(ssh, "ssh")
    extra = login.pop("authorized_keys")
    accounts = []
    for part in users:
        values = part.arguments()
        if part is main:
            values["authorized_keys"] = tuple(dict.fromkeys((*values["authorized_keys"], *extra)))
        accounts.append(Account(**values, line=part.block.line))
    return Config(
        Device(**_arguments(device, "device")),
        tuple(accounts),
        Ssh(**login),
        tuple(App(**part.arguments(), line=part.block.line) for part in apps),
        tuple(secrets.values.items()) if secrets else (),
    )


def _first(found: list[Found], name: str) -> Found | None:
    """Return the section of a name that stands only once."""
    return next((part for part in found if part.section.name == name), None)


def _arguments(part: Found | None, name: str) -> dict[str, Any]:
    """Return the values of a section, the defaults where it is absent."""
    return part.arguments() if part else settings.arguments(name, {})


def _judge_apps(judge: Judge, apps: list[Found]) -> None:
    """Give each app its name, and refuse names under which units would collide."""
    for part in apps:
        repo = part.values.get("repo")
        if repo is None or "name" in part.entries or "." in part.block.name:
            continue
        try:
            part.values["name"] = remote.name_from(repo)
        except BadValue as error:
            hint = "add a line such as name = garden"
            judge.at_value(part, part.entries["repo"], f"no name follows from this: {error}", hint)
    _judge_names(judge, apps, "apps")
    # piot-a-b.service could be unit b of app a, or belong to the app a-b.
    for part in apps:
        for other in apps:
            name, start = part.values.get("name", ""), other.values.get("name", "")
            if start and name.startswith(f"{start}-"):
                message = (
                    f"the units of {name} and of {start} (line {other.block.line}) "
                    "could have the same names"
                )
                judge.at_header(part, message, f"use a name that does not begin with {start}-")


def _judge_names(judge: Judge, parts: list[Found], what: str) -> None:
    """Refuse two sections with the same name."""
    seen: dict[str, Found] = {}
    for part in parts:
        name = part.values.get("name")
        first = seen.setdefault(name, part) if name else part
        if first is not part and first.block.name != part.block.name:
            lines = f"line {first.block.line} and line {part.block.line}"
            hint = f"give one of them another name, as in [{part.section.name}.NAME]"
            judge.at_header(part, f"two {what} are called {name}, {lines}", hint)


def _judge_main(judge: Judge, ssh: Found | None, main: Found | None) -> None:
    """Ask whose keys those in [ssh] are."""
    entry = ssh.entries.get("authorized_key") if ssh else None
    if ssh and entry and main is None:
        hint = "add [user] with name = …, or move the key to a [user.NAME]"
        judge.at_value(ssh, entry, "this key belongs to the main user, and there is none", hint)


def _judge_way_in(judge: Judge, users: list[Found], ssh: Found | None, main: Found | None) -> None:
    """Refuse to lock everyone out: one account needs a key for SSH, or a usable password."""
    login = ssh.values if ssh else {}
    keys = login.get("authorized_keys", ()) if main else ()
    keys += tuple(key for part in users for key in part.values.get("authorized_keys", ()))
    if not users or any(usable_hash(part.values.get("password_hash")) for part in users):
        return
    if not keys:
        message = "nobody could log in: no user has an authorized_key or a usable password_hash"
        judge.at_header(users[0], message, "add an authorized_key to this section")
    elif ssh and login.get("enabled") is False:
        message = "nobody could log in: keys need SSH, and no user has a usable password_hash"
        entry = ssh.entries["enabled"]
        judge.at_value(ssh, entry, message, "leave SSH on, or give a password_hash")
