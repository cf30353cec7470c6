"""`[user]` and `[ssh]`: who logs in, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from piot_firstboot import sshkey, values
from piot_firstboot.found import Found, of, only
from piot_firstboot.table import Section, Setting

if TYPE_CHECKING:
    from piot_firstboot.confkeys import Judge


SECTIONS: tuple[Section, ...] = (
    Section(
        "user",
        "A person who logs in. The first user without a NAME in the brackets is the main one; "
        "add [user.NAME] for each further person. There must be a way in: a key or a password.",
        values.user_name,
    ),
    Section("ssh", "Logging in over the network."),
)

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "user",
        "name",
        values.user_name,
        "The account; it is made unless it is there already.",
        "anna",
        required=True,
        sensitivity="personal",
    ),
    Setting(
        "user",
        "password",
        values.login_password,
        "The password, 8 characters or more. On the device it is kept as a hash only; give "
        "password_hash instead, and it never lies on the card at all.",
        "correct horse",
        sensitivity="secret",
        stored=True,
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
        "import_keys",
        values.key_source,
        "Where public keys are fetched from once there is a network: gh:NAME (GitHub) or lp:NAME "
        "(Launchpad). Repeat for more.",
        "gh:anna",
        default=(),
        sensitivity="personal",
        many=True,
    ),
    Setting(
        "user",
        "groups",
        values.group_name,
        "A group that the person belongs to. Repeat for more. If not given, the main user joins "
        "those of Raspberry Pi OS that are there: adm dialout cdrom audio video plugdev games "
        "users input render netdev lpadmin gpio i2c spi.",
        "gpio",
        default=(),
        many=True,
        among="groups",
    ),
    Setting(
        "user",
        "sudo",
        values.sudo,
        "Whether the person may become root: no, password (asked for it) or nopasswd. If not "
        "given: password for an account with a password, nopasswd for one with keys only, who "
        "could administer nothing otherwise. It holds against what other files grant this person.",
        "password",
    ),
    Setting(
        "user",
        "shell",
        values.shell,
        "The program that logging in starts. If not given, it stays as it is; a new account has "
        "/bin/bash.",
        "/bin/bash",
        among="shells",
    ),
    Setting(
        "ssh",
        "enabled",
        values.boolean,
        "Whether the SSH server runs. If not given: on as soon as there is a key, a port or "
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
        "port",
        values.port,
        "The TCP port that the SSH server listens on. If not given: 22. It listens itself then: "
        "ssh.socket is switched off.",
        "22",
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
)


@dataclass(frozen=True, slots=True)
class Account:
    """A person who logs in; `sudo` None was not given.

    `section` is the header in the file, `line` where that stands.
    """

    name: str
    password: str | None = field(repr=False)
    password_hash: str | None = field(repr=False)
    authorized_keys: tuple[str, ...]
    import_keys: tuple[str, ...]
    groups: tuple[str, ...]
    sudo: str | None
    shell: str | None
    section: str
    line: int


@dataclass(frozen=True, slots=True)
class Ssh:
    """The SSH server; None leaves things as they are. Its keys are in the main account."""

    enabled: bool | None
    password_login: bool | None
    port: int | None


def judge(judge: Judge, found: list[Found]) -> None:
    """Refuse two users of one name, keys that are nobody's, and a file that locks everyone out."""
    users = of(found, "user")
    ssh = next(iter(of(found, "ssh")), None)
    main = _main(users)
    judge.names(users, "users")
    for part in users:
        if "password" in part.entries and "password_hash" in part.entries:
            message = "password and password_hash are both given"
            judge.at_key(part, part.entries["password_hash"], message, "keep one of them")
        if part.values.get("sudo") == "no" and "sudo" in part.values.get("groups", ()):
            message = "sudo = no and groups = sudo contradict each other"
            judge.at_key(part, part.entries["groups"], message, "keep one of them")
    _judge_main(judge, ssh, main)
    # A refused key or hash may be the way in: no second complaint about its absence.
    for ask in (_judge_way_in, _judge_password_login):
        if all(part.clean for part in (*users, *of(found, "ssh"))):
            ask(judge, users, ssh, main)


def read(found: list[Found]) -> tuple[tuple[Account, ...], Ssh]:
    """Return the accounts, the main one with the keys of `[ssh]` too, and the SSH server."""
    login = only(found, "ssh", SETTINGS)
    extra = login.pop("authorized_keys")
    users = of(found, "user")
    accounts = []
    for part in users:
        values = part.arguments()
        if part is _main(users):
            values["authorized_keys"] = tuple(dict.fromkeys((*values["authorized_keys"], *extra)))
        accounts.append(Account(**values, section=part.block.name, line=part.block.line))
    return tuple(accounts), Ssh(**login)


def _main(users: list[Found]) -> Found | None:
    """Return the user without a NAME in the brackets."""
    return next((part for part in users if "." not in part.block.name), None)


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
    for key in ("authorized_keys", "import_keys"):
        keys += tuple(value for part in users for value in part.values.get(key, ()))
    if not users or any(_has_password(part) for part in users):
        return
    if not keys:
        message = "nobody could log in: no user has an authorized_key or a usable password"
        judge.at_header(users[0], message, "add an authorized_key to this section")
    elif ssh and login.get("enabled") is False:
        message = "nobody could log in: keys need SSH, and no user has a usable password"
        entry = ssh.entries["enabled"]
        judge.at_value(ssh, entry, message, "leave SSH on, or give a password")


def _judge_password_login(
    judge: Judge, users: list[Found], ssh: Found | None, main: Found | None
) -> None:
    """Refuse passwords over SSH where no user has one."""
    if not ssh or not ssh.values.get("password_login") or not users:
        return
    if not any(_has_password(part) for part in users):
        message = "no user has a password to log in with"
        whose = (main or users[0]).block.name
        hint = f"add password = … to [{whose}], or write password_login = no"
        judge.at_value(ssh, ssh.entries["password_login"], message, hint)


def _has_password(part: Found) -> bool:
    """Tell whether one can log in with a password."""
    return "password" in part.values or values.usable_hash(part.values.get("password_hash"))
