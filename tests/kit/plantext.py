"""Items of a plan as text that a person can read and a test can compare literally."""

from __future__ import annotations

from collections.abc import Iterable

from piot_firstboot.items import (
    Credential,
    Directory,
    File,
    Item,
    Lines,
    Login,
    State,
    Symlink,
    SystemUser,
    Unit,
    Word,
    key,
)
from piot_firstboot.plan import Part


def plan_text(items: Iterable[Item]) -> str:
    """Write one block per item: what it is, and below it, indented, what is in it."""
    return "\n".join(_block(item) for item in items)


def parts_text(parts: Iterable[Part]) -> str:
    """Write the parts one after the other, each under its section."""
    return "\n".join(
        f"[{part.section}]{' late' * part.late}\n\n{plan_text(part.items)}" for part in parts
    )


def _block(item: Item) -> str:
    head = key(item)
    body: list[str] = []
    match item:
        case File():
            head += _access(item) + (" secret" if item.secret else "")
            head += " keep" if item.keep else ""
            head += f" check={' '.join(item.check)}" if item.check else ""
            text = item.content.decode()
            body = text.split("\n")[:-1] if text.endswith("\n") else [*text.split("\n"), "\\"]
        case Directory():
            head += _access(item)
        case Lines():
            head += _access(item) + (f" replaces={item.replaces}" if item.replaces else "")
            body = list(item.lines)
        case Symlink():
            body = [f"-> {item.target}"]
        case State() | Word():
            body = [item.value]
        case Credential():
            body = item.value.removesuffix("\n").split("\n")
        case Login():
            body = [f"password_hash {item.password_hash}"] if item.password_hash else []
            body += [f"groups {' '.join(item.groups)}"] if item.groups else []
            body += [f"not_groups {' '.join(item.not_groups)}"] if item.not_groups else []
            body += [f"shell {item.shell}"]
        case SystemUser():
            body = [f"home {item.home}", f"comment {item.comment}"]
        case Unit():
            body = [f"active {item.active}"] if item.active is not None else []
            body += [f"enabled {item.enabled}"] if item.enabled is not None else []
            body += [f"on_change {item.on_change}"] if item.on_change else []
            body += [f"because {path}" for path in item.because]
    return "".join(f"{line}\n" for line in (head, *(f"    {line}" for line in body)))


def _access(item: File | Directory | Lines) -> str:
    return f" {item.mode:04o} {item.owner}:{item.group}"
