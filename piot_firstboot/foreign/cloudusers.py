"""Who may log in, as cloud-init's user-data says it in half a dozen places."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from piot_firstboot.foreign.carried import Draft
from piot_firstboot.foreign.cloudfile import Block, block, flag, is_null
from piot_firstboot.yamltext import Mapping, Node, Scalar

_ALL = re.compile(r"ALL\s*=\s*(\(\s*ALL\s*(:\s*ALL\s*)?\)\s*)?(?P<free>NOPASSWD\s*:\s*)?ALL\s*")
_DEFAULT = "the image's own user is not named here; add [user] with name = … and this"
_LOCKED = "cloud-init locks it unless lock_passwd: false; if it is to be used, add it to the [user]"
_FIELDS = (("ssh_authorized_keys", "authorized_key"), ("ssh_import_id", "import_keys"))


@dataclass(slots=True)
class _Person:
    """A user: values by key of piot.conf, each with its line."""

    name: str
    line: int
    values: list[tuple[str, str, int]] = field(default_factory=list, repr=False)


def carry(root: Block) -> None:
    """Carry users, passwords, keys and the SSH server over."""
    draft = root.draft
    people: dict[str, _Person] = {}
    default = _default_user(root, people)
    for node in _user_nodes(root):
        _user(draft, node, people)
    _default_password(root, people.get(default))
    _changed_passwords(root.block("chpasswd"), people)
    main = next(iter(people.values()), None)
    _keys(root, main)
    _server(root)
    for person in people.values():
        section = "user" if person is main else f"user.{person.name}"
        draft.put(section, "name", person.name, person.line)
        secrets = [value for value in person.values if value[0].startswith("password")]
        for key, text, line in person.values:
            # A later place of the file overrides an earlier one.
            if not key.startswith("password") or (key, text, line) == secrets[-1]:
                draft.put(section, key, text, line)


def _default_user(root: Block, people: dict[str, _Person]) -> str:
    """Read `user:`, which changes the image's own user, and return that user's name."""
    node = root.take("user")
    if isinstance(node, Scalar):
        people[node.text] = _Person(node.text, node.place.line)
        return node.text
    if isinstance(node, Mapping):
        return _user(root.draft, node, people)
    return ""


def _user_nodes(root: Block) -> list[Node]:
    """Take `users:`, a list, a mapping by name, or a text of names."""
    node = root.pairs.get("users", (None, None))[1]
    if isinstance(node, Scalar):
        root.drop("users")
        place = node.place
        return [Scalar(n.strip(), place) for n in node.text.split(",") if n.strip()]
    return list(root.nodes("users"))


def _user(draft: Draft, node: Node, people: dict[str, _Person]) -> str:
    """Read one user and return the name."""
    line = node.place.line
    if isinstance(node, Scalar):
        # `default` is the image's own user: it stays as it is.
        if node.text != "default" and not is_null(node):
            people.setdefault(node.text, _Person(node.text, line))
        return node.text
    if not isinstance(node, Mapping):
        draft.problem(line, node.place.column, "a user must be a name or a mapping")
        return ""
    user = block(draft, node, "users")
    line, name = user.line("name"), user.text("name")
    if not name:
        if "snapuser" in user.pairs:
            user.leave("snapuser", "PioT makes users of Debian only")
        else:
            draft.problem(line, node.place.column, "this user has no name", "add name: …")
        return ""
    if name == "root":
        why = "PioT does not open root; name a user of your own, `sudo` makes it root"
        draft.leave(line, "user root", why)
        return ""
    user.name = f"user {name}"
    person = people.setdefault(name, _Person(name, line))
    _password(user, person)
    for key, word in _FIELDS:
        line = user.line(key)
        person.values += [(word, value, line) for value in _keyed(user, key)]
    _rights(user, person)
    line, shell = user.line("shell"), user.text("shell")
    if shell:
        person.values.append(("shell", shell, line))
    user.drop("create_groups", "no_user_group", "no_log_init")
    user.leave("gecos", "PioT sets no full name; run `chfn` on the device")
    user.leave_rest()
    return name


def _keyed(user: Block, key: str) -> tuple[str, ...]:
    """Take keys or names of where to get them; a bare name is one of Launchpad."""
    found = tuple(value for value in user.texts(key) if value)
    if key != "ssh_import_id":
        return found
    found = tuple(value for value in found if value.lower() != "none")
    return tuple(value if ":" in value else f"lp:{value}" for value in found)


def _password(user: Block, person: _Person) -> None:
    """Read the password of a user, unless it is locked."""
    locked = user.flag("lock_passwd")
    for key in ("plain_text_passwd", "hashed_passwd", "passwd"):
        line, text = user.line(key), user.secret(key)
        if not text:
            continue
        if locked is not False:
            user.draft.leave(line, f"{key} of {user.name}", _LOCKED)
        else:
            word = "password" if key == "plain_text_passwd" else "password_hash"
            person.values.append((word, text, line))


def _rights(user: Block, person: _Person) -> None:
    """Read groups, and the rules of sudo: all rights or none."""
    line = user.line("groups")
    groups = user.texts("groups", ",")
    person.values += [("groups", name, line) for name in groups if name != "sudo"]
    rules_line, node = user.line("sudo"), user.pairs.get("sudo", (None, None))[1]
    if node is None or is_null(node) or flag(node) is False:
        user.drop("sudo")
        word = "password" if "sudo" in groups else "no"
        person.values.append(("sudo", word, line if "sudo" in groups else rules_line))
        return
    matches = [_ALL.fullmatch(rule) for rule in user.texts("sudo")]
    if matches and all(matches):
        free = any(match["free"] for match in matches if match)
        person.values.append(("sudo", "nopasswd" if free else "password", rules_line))
        return
    why = "PioT gives all rights or none; put the rule into a file of /etc/sudoers.d"
    user.draft.leave(rules_line, f"sudo of {user.name}", why)
    person.values.append(("sudo", "no", rules_line))


def _default_password(root: Block, person: _Person | None) -> None:
    """Read `password:`, which is the image's own user's."""
    line, text = root.line("password"), root.secret("password")
    if text and person:
        person.values.append((_kind(text), text, line))
    elif text:
        root.draft.leave(line, "password", _DEFAULT)


def _changed_passwords(changed: Block, people: dict[str, _Person]) -> None:
    """Read `chpasswd:`, passwords by name."""
    draft = changed.draft
    expires = changed.flag("expire")
    found: list[tuple[str, str, str, int]] = []
    for line, text in _password_lines(changed):
        name, colon, password = text.partition(":")
        if colon:
            found.append((name.strip(), password, _kind(password), line))
        else:
            draft.problem(line, 1, "chpasswd.list must hold name:password, one a line")
    for item in changed.nodes("users"):
        if not isinstance(item, Mapping):
            changed.wrong(item, "chpasswd.users", "a list of mappings")
            continue
        user = block(draft, item, "chpasswd.users")
        at, kind = user.line("password"), user.text("type") or "hash"
        name, password = user.text("name"), user.secret("password")
        word = "password" if kind == "text" else "password_hash"
        found.append((name, "RANDOM" if kind.upper() == "RANDOM" else password, word, at))
        user.leave_rest()
    for name, password, word, at in found:
        if password.upper() in ("R", "RANDOM"):
            draft.leave(
                at, "chpasswd", "PioT makes up no passwords; add password = … to the [user]"
            )
        elif name == "root":
            draft.leave(at, "chpasswd of root", "PioT does not open root; use `sudo`")
        elif name and password:
            person = people.setdefault(name, _Person(name, at))
            person.values.append((word, password, at))
    if found and expires is not False:
        why = "PioT does not make people change it; run `passwd` on the device"
        draft.leave(changed.start, "chpasswd.expire", why)
    changed.leave_rest()


def _password_lines(changed: Block) -> list[tuple[int, str]]:
    """Take `list:`, a text of lines or a list of them, each with where it stands."""
    line, node = changed.line("list"), changed.pairs.get("list", (None, None))[1]
    if not isinstance(node, Scalar):
        return [(line, text) for text in changed.texts("list")]
    changed.drop("list")
    step = 0 if node.plain else 1  # the lines of a block follow that of its key
    lines = enumerate(node.text.split("\n"), line + step)
    return [(number if step else line, text) for number, text in lines if text.strip()]


def _kind(password: str) -> str:
    """Tell a hash from a password, as cloud-init does."""
    return "password_hash" if re.match(r"\$(1|2a|2y|5|6|y)\$", password) else "password"


def _keys(root: Block, main: _Person | None) -> None:
    """Read keys at the top, which are the image's own user's; else they go to the main one."""
    for key, word in _FIELDS:
        line, values = root.line(key), _keyed(root, key)
        if values and main:
            main.values += [(word, value, line) for value in values]
        elif values:
            root.draft.leave(line, key, _DEFAULT)


def _server(root: Block) -> None:
    """Read whether one may log in over SSH, and with a password."""
    draft = root.draft
    line, enabled = root.line("enable_ssh"), root.flag("enable_ssh")
    if enabled is not None:
        draft.put("ssh", "enabled", enabled, line)
    line, node = root.line("ssh_pwauth"), root.pairs.get("ssh_pwauth", (None, None))[1]
    if isinstance(node, Scalar) and node.text.lower() == "unchanged":
        root.drop("ssh_pwauth")
    login = root.flag("ssh_pwauth")
    if login is not None:
        draft.put("ssh", "password_login", login, line)
