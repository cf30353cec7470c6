"""`[app]`: what the device is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from piot_firstboot import appvalues, remote, sshkey, values
from piot_firstboot.found import Found, of
from piot_firstboot.table import Section, Setting
from piot_firstboot.values import BadValue

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge


SECTIONS: tuple[Section, ...] = (
    Section(
        "app",
        "What the device is for: a git repository with a .piot.yaml. Several apps: one "
        "[app.NAME] each.",
        remote.app_name,
    ),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "app",
        "name",
        remote.app_name,
        "What units, user and directories of the app are called. If not given: the last part of "
        "the repository's address.",
        "garden",
    ),
    Setting(
        "app",
        "repo",
        remote.repo,
        "The address of the repository: https://, ssh://, git@host:path, file://, a path, or "
        "the name of a git bundle on the boot partition.",
        "https://example.org/anna/garden.git",
        required=True,
    ),
    Setting(
        "app",
        "ref",
        remote.ref,
        "The branch, tag or commit. If not given: the remote's default branch.",
        "main",
        default="",
    ),
    Setting(
        "app",
        "path",
        appvalues.manifest_path,
        "Where the manifest lies in the repository. If not given: .piot.yaml.",
        "devices/garden.yaml",
        default=".piot.yaml",
    ),
    Setting(
        "app",
        "poll",
        values.poll,
        "How often to look for a new commit, as 30s, 5min or 1h 30min, or off. If not given: 5min.",
        "5min",
        default=300.0,
    ),
    Setting(
        "app",
        "deploy_key",
        appvalues.deploy_key,
        "The SSH private key for a private repository: the name of a file on the boot partition, "
        "or what stands between its BEGIN and END lines, in one line. Once applied, it is moved to "
        "the store.",
        "garden_ed25519",
        sensitivity="secret",
        stored=True,
        file=True,
    ),
    Setting(
        "app",
        "username",
        appvalues.username,
        "The user name that goes with `token`. If not given: what the large hosts expect.",
        "anna",
        sensitivity="personal",
    ),
    Setting(
        "app",
        "token",
        values.secret,
        "The access token for a private repository over https.",
        "an-access-token",
        sensitivity="secret",
        stored=True,
    ),
    Setting(
        "app",
        "known_hosts",
        appvalues.known_host,
        "A line of known_hosts for the server, as `ssh-keyscan` prints it. Repeat for more.",
        "git.example.org ssh-ed25519 "
        "AAAAC3NzaC1lZDI1NTE5AAAAIOB5IJq4WkfjuxH90Y3msiyt+J+xfqGkPOWEhagFFNM5",
        default=(),
        many=True,
    ),
    Setting(
        "app",
        "signer",
        sshkey.authorized_key,
        "A public key that commits must be signed with; nothing else is deployed. Repeat for more.",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOB5IJq4WkfjuxH90Y3msiyt+J+xfqGkPOWEhagFFNM5 "
        "anna@laptop",
        default=(),
        sensitivity="personal",
        many=True,
        field="signers",
    ),
    Setting(
        "app",
        "fast_forward_only",
        values.boolean,
        "Whether a commit must descend from the one that runs. If not given: no.",
        "yes",
        default=False,
    ),
    Setting(
        "app",
        "submodules",
        values.boolean,
        "Whether submodules are fetched too. If not given: no.",
        "yes",
        default=False,
    ),
    Setting(
        "app",
        "lfs",
        values.boolean,
        "Whether files kept by Git LFS are fetched too; needs the package git-lfs. If not given: "
        "no.",
        "yes",
        default=False,
    ),
    Setting(
        "app",
        "keep",
        appvalues.keep,
        "How many releases stay on the device, the running one included. If not given: 3.",
        "3",
        default=3,
    ),
    Setting(
        "app",
        "quiet",
        appvalues.quiet,
        "Times of day, in the device's time zone, in which no new release is switched to.",
        "22:00-06:00",
    ),
    Setting(
        "app",
        "ring",
        appvalues.ring,
        "The ring that this device is in, a word of the manifest's `fleet: rings:`; it tells how "
        "long a commit soaks before it is deployed here. If not given: by the host name.",
        "canary",
    ),
    Setting(
        "app",
        "trigger",
        values.boolean,
        "Whether a file at /run/piot/trigger/NAME has the app looked after at once: a way to push "
        "for whatever can write there. If not given: no.",
        "yes",
        default=False,
    ),
    Setting(
        "app",
        "usb",
        values.boolean,
        "Whether a USB stick with NAME.bundle on it, made by `git bundle create`, updates the app "
        "when it is plugged in. If not given: no.",
        "yes",
        default=False,
    ),
)


@dataclass(frozen=True, slots=True)
class App:
    """An app: `ref` empty is the remote's HEAD, `poll` in seconds, None is off, `quiet`
    in minutes of the day.

    `section` is its header in the file, `line` where that stands.
    """

    name: str
    repo: str
    ref: str
    path: str
    poll: float | None
    deploy_key: str | None = field(repr=False)
    username: str | None
    token: str | None = field(repr=False)
    known_hosts: tuple[str, ...]
    signers: tuple[str, ...]
    fast_forward_only: bool
    submodules: bool
    lfs: bool
    keep: int
    quiet: tuple[int, int] | None
    ring: str | None
    trigger: bool
    usb: bool
    section: str
    line: int


def judge(judge: Judge, found: list[Found]) -> None:
    """Give each app its name, refuse names under which units would collide, pair credentials."""
    apps = of(found, "app")
    _judge_credentials(judge, apps)
    for part in apps:
        repo = part.values.get("repo")
        if repo is None or "name" in part.entries or "." in part.block.name:
            continue
        try:
            part.values["name"] = remote.name_from(repo)
        except BadValue as error:
            hint = "add a line such as name = garden"
            judge.at_value(part, part.entries["repo"], f"no name follows from this: {error}", hint)
    judge.names(apps, "apps")
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


def _judge_credentials(judge: Judge, apps: list[Found]) -> None:
    """Refuse credentials that the address of the repository cannot use."""
    for part in apps:
        repo = part.values.get("repo", "")
        key, token, user = (part.entries.get(n) for n in ("deploy_key", "token", "username"))
        https = repo.startswith(("https://", "http://"))
        ssh = repo.startswith("ssh://") or ("://" not in repo and ":" in repo)
        if key and repo and not ssh:
            hint = "give the address as git@host:path, or use token"
            judge.at_key(part, key, "deploy_key is for SSH, and this address is not", hint)
        if token and repo and not https:
            hint = "give the address as https://host/path, or use deploy_key"
            judge.at_key(part, token, "token is for https, and this address is not", hint)
        if token and repo.startswith("http://"):
            judge.at_key(part, token, "a token would travel in the clear", "use https://")
        if user and not token:
            judge.at_key(part, user, "username goes with a token, and there is none", "add token")


def read(found: list[Found]) -> tuple[App, ...]:
    """Return the apps in the order of the file."""
    return tuple(
        App(**part.arguments(), section=part.block.name, line=part.block.line)
        for part in of(found, "app")
    )
