"""Every key of piot.conf, one row each: how it is read, what it means, how secret it is.

The parser, the defaults, the redaction, the help and examples/piot.conf come from these rows. A
new key is a new row here, a field of the section's dataclass in `config`, and a line in the
render module of its domain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from piot_firstboot import remote, sshkey, values

# plain may be shown anywhere; personal is shown to the owner of the device (reports, not
# metrics); secret is shown nowhere.
Sensitivity = Literal["plain", "personal", "secret"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a section.

    `parse` raises ValueError (`values.BadValue` with a hint). `key` is `*` where any NAME may
    stand. `many` keys may be repeated and give a tuple. `field` is the attribute of the section's
    dataclass, the key itself if empty. `among` names a set of words, known only on the device,
    that the value must be in.
    """

    section: str
    key: str
    parse: Callable[[str], Any]
    help: str
    example: str
    default: Any = None
    sensitivity: Sensitivity = "plain"
    many: bool = False
    required: bool = False
    field: str = ""
    among: str = ""

    @property
    def attribute(self) -> str:
        """Name the attribute of the section's dataclass."""
        return self.field or self.key


@dataclass(frozen=True, slots=True)
class Section:
    """A section: whether there may be several as `[name.NAME]`, and what it is for.

    In `[name.NAME]` the NAME stands for the key `name`, which `[name]` may or must have.
    """

    name: str
    help: str
    parse_name: Callable[[str], str] | None = None


SECTIONS: tuple[Section, ...] = (
    Section("device", "What the device calls itself and where it stands."),
    Section(
        "user",
        "A person who logs in. The first user without a NAME in the brackets is the main one; "
        "add [user.NAME] for each further person. There must be a way in: a key or a password.",
        values.user_name,
    ),
    Section("ssh", "Logging in over the network."),
    Section(
        "app",
        "What the device is for: a git repository with a .piot.yaml. Several apps: one "
        "[app.NAME] each.",
        remote.app_name,
    ),
    Section(
        "secrets",
        "Passwords and tokens for apps that ask for them by name. The value is all that follows "
        "the first `=`; put it into quotes if it begins or ends with a blank.",
    ),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "device",
        "hostname",
        values.hostname,
        "The name on the network. {serial} {serial8} {mac} {mac6} {model} stand for what is "
        "different on each device, so one file fits many.",
        "garden-{serial8}",
    ),
    Setting(
        "device",
        "timezone",
        values.timezone,
        "A name of the tz database, as `timedatectl list-timezones` prints them.",
        "Europe/Berlin",
        among="zones",
    ),
    Setting(
        "user",
        "name",
        values.user_name,
        "The account; it is made unless it is there already.",
        "anna",
        required=True,
        sensitivity="personal",
    ),
    # The hash and the keys below are random: nobody holds the password or the private keys.
    Setting(
        "user",
        "password_hash",
        values.password_hash,
        "The password, hashed by `mkpasswd` (package whois) or `openssl passwd -6`; `!` for an "
        "account without one.",
        "$6$sQfRdNvLDT7do1Mb$c70VTQQtiDA70tTATZVkRt1rpPfRL5i9FPPtDmVoU2gpCp9rTqpQVsp"
        "cCcbJrV.ZDPYB5A.Mad3FN/BtVx23CY",
        sensitivity="secret",
    ),
    Setting(
        "user",
        "authorized_key",
        sshkey.authorized_key,
        "An SSH public key that may log in: the one line of a file such as id_ed25519.pub. "
        "Repeat the line for more keys.",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOB5IJq4WkfjuxH90Y3msiyt+J+xfqGkPOWEhagFFNM5 "
        "anna@laptop",
        default=(),
        sensitivity="personal",
        many=True,
        field="authorized_keys",
    ),
    Setting(
        "user",
        "sudo",
        values.sudo,
        "Whether the person may become root: no, password (asked for it) or nopasswd. If not "
        "given: password for an account with a password_hash, nopasswd for one with keys only, "
        "who could administer nothing otherwise.",
        "password",
    ),
    Setting(
        "ssh",
        "enabled",
        values.boolean,
        "Whether the SSH server runs. If not given: on as soon as there is an authorized_key or "
        "password_login = yes, else as it was.",
        "yes",
    ),
    Setting(
        "ssh",
        "password_login",
        values.boolean,
        "Whether a password is enough to log in over SSH. If not given, it stays as it is.",
        "no",
    ),
    Setting(
        "ssh",
        "authorized_key",
        sshkey.authorized_key,
        "A further key of the main user.",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJFBXKP4JjyyNb5Gdy6/fSPKDD6SzzkseOaQiFjRR1s3 "
        "anna@desktop",
        default=(),
        sensitivity="personal",
        many=True,
        field="authorized_keys",
    ),
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
        "poll",
        values.poll,
        "How often to look for a new commit, as 30s, 5min or 1h 30min, or off. If not given: 5min.",
        "5min",
        default=300.0,
    ),
    Setting(
        "secrets",
        "*",
        values.secret,
        "Any NAME of letters, digits and `_`.",
        "s3cr3t # all of this",
        sensitivity="secret",
    ),
)

_BY_SECTION = {
    section.name: {row.key: row for row in SETTINGS if row.section == section.name}
    for section in SECTIONS
}


def section(name: str) -> Section | None:
    """Find a section by its name."""
    return next((row for row in SECTIONS if row.name == name), None)


def keys(name: str) -> dict[str, Setting]:
    """Return the rows of a section by key."""
    return _BY_SECTION[name]


def arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for each attribute of a section's dataclass: the given one or the default."""
    return {row.attribute: given.get(row.attribute, row.default) for row in keys(name).values()}


def example() -> str:
    """Return examples/piot.conf: every key explained, everything commented out."""
    lines = [
        "# piot.conf tells PioT what this device shall be. It lies on the boot partition, and is",
        "# read at each boot and by `sudo piot apply`. Remove the `#` in front of what you need.",
        "#",
        "# One `key = value` a line. The value is all that follows, a `#` included; a comment",
        "# has a line of its own. `piot check piot.conf` finds mistakes before you boot.",
    ]
    for part in SECTIONS:
        lines += ["", "", *_prose(part.help), f"#[{part.name}]"]
        for row in keys(part.name).values():
            name = "API_TOKEN" if row.key == "*" else row.key
            lines += ["", *_prose(row.help), f"#{name} = {row.example}"]
    return "\n".join(lines) + "\n"


def _prose(text: str) -> list[str]:
    """Wrap a text into comment lines; textwrap would cost an import at each boot."""
    return [f"# {line.rstrip()}" for line in re.findall(r"\S.{0,86}(?:\s|$)", text)]
