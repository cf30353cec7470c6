"""Blocks of a manifest → what they declare: needs, health, update, fleet, when."""

from __future__ import annotations

from piot_firstboot import unitvalues
from piot_firstboot.blocks import REFUSED, Block, Reader
from piot_firstboot.command import Command, CommandError, script, split, verbatim
from piot_firstboot.declared import (
    Fleet,
    Health,
    JournalRule,
    Needs,
    Retry,
    Ring,
    Role,
    Update,
    When,
)
from piot_firstboot.yamltext import Mapping, Scalar, Sequence

DEFAULT_STEADY = 10.0  # seconds a service without a health block must stay up after a deploy


def command(reader: Reader, block: Block, key: str, *, shell: bool = False) -> Command | None:
    """Read a command, as text or as a list of words."""
    node = block.value(key)
    problem = reader.reading.problem
    try:
        match node:
            case Scalar():
                return script(node.text) if shell else split(node.text)
            case Sequence() if shell:
                problem(node.place, "shell: true needs a text, not a list of words")
            case Sequence():
                words = reader.texts(node, key)
                return verbatim(words) if words is not None else None
            case Mapping():
                problem(node.place, f"{key} takes a command line or a list of words")
    except CommandError as error:
        whole = not error.index or not isinstance(node, Scalar)
        place = node.place if whole else reader.reading.within(node, error.index)
        hint = error.hint
        if key != "run" and "shell: true" in hint:
            hint = "put it into a script"
        problem(place, f"{key}: {error}", hint)
    return None


def health(reader: Reader, block: Block) -> Health | None:
    """Read a service's health block; without one, staying up for a moment is all that is asked."""
    inner = block.inner("health") if block.has("health") else None
    if inner is None:
        return None if block.has("health") else Health(steady=DEFAULT_STEADY)
    probes = [key for key in ("http", "tcp", "command") if inner.has(key)]
    for key in probes[1:]:
        message = f"health has one of http, tcp and command; {probes[0]} is given too"
        reader.reading.problem(inner.key(key), message)
    return Health(
        inner.value("http"),
        inner.value("tcp"),
        command(reader, inner, "command") if inner.has("command") else None,
        inner.value("within"),
        inner.value("steady"),
        journal(reader, inner),
    )


def journal(reader: Reader, block: Block) -> JournalRule | None:
    """Read the journal rule in a health block."""
    inner = block.inner("journal")
    if inner is None:
        return None
    problem = reader.reading.problem
    of_app = inner.where == "app_journal"
    expect = "" if of_app else inner.value("expect")
    counted = [key for key in ("reject", "priority") if inner.has(key)]
    if not counted and not inner.has("expect"):
        hint = "add reject: or priority:" if of_app else "add expect:, reject: or priority:"
        problem(inner.place, "this rule says nothing of what to look for", hint)
    for key in ("max", "per"):
        if inner.has(key) and inner.has("expect") and not counted:
            problem(inner.key(key), f"{key} counts what reject or priority names; neither is given")
    if inner.has("within") and not inner.has("expect"):
        problem(inner.key("within"), "within belongs to expect, which is not given")
    return JournalRule(
        expect,
        inner.value("reject"),
        inner.value("max"),
        inner.value("per"),
        JournalRule().within if of_app else inner.value("within"),
        inner.value("priority"),
    )


def retry(block: Block) -> Retry | None:
    """Read how a failed job is tried again."""
    inner = block.inner("retry")
    return Retry(inner.value("times"), inner.value("wait")) if inner else None


def when(reader: Reader, block: Block) -> When:
    """Read which devices have a unit."""
    inner = block.inner("when")
    if inner is None:
        return When()
    given = [key for key in ("role", "host", "model", "label") if inner.has(key)]
    if not given:
        hint = "add role:, host:, model: or label:, or leave it out"
        reader.reading.problem(block.key("when"), "when names no devices", hint)
    roles = tuple(item.text for item in inner.value("role"))
    return When(roles, inner.value("host"), inner.value("model"), inner.value("label"))


def needs(top: Block) -> Needs:
    """Read what the device must have."""
    inner = top.inner("needs")
    if inner is None:
        return Needs()
    return Needs(inner.value("apt"), inner.value("python"), inner.value("devices"))


def update(top: Block) -> Update:
    """Read how a new release comes."""
    inner = top.inner("update")
    if inner is None:
        return Update()
    gate = inner.value("gate")
    return Update(
        None if gate is None else tuple(item.text for item in gate),
        inner.value("keep"),
        inner.value("quiet"),
        tuple((name.text, signal) for name, signal in inner.value("reload")),
    )


def fleet(reader: Reader, top: Block) -> Fleet:
    """Read what the devices are among each other."""
    inner = top.inner("fleet")
    if inner is None:
        return Fleet()
    roles = [
        Role(block.name, block.value("hosts"), block.value("models"))
        for block in _groups(reader, inner, "roles", "role")
    ]
    rings = [
        Ring(block.name, block.value("hosts") or ("*",), block.value("soak"))
        for block in _groups(reader, inner, "rings", "ring")
    ]
    return Fleet(tuple(roles), tuple(rings))


def _groups(reader: Reader, fleet: Block, key: str, where: str) -> list[Block]:
    """Read roles or rings; one behind another that takes every device is a slip."""
    parse = unitvalues.role if where == "role" else unitvalues.ring
    found: list[Block] = []
    greedy = ""
    for name, node in fleet.value(key):
        if reader.scalar(name, parse) is REFUSED:
            continue
        block = reader.block(where, node, name=name.text, place=name.place)
        if block.broken:
            continue
        if greedy:
            message = f"no device is left for {block.name}: {greedy} before it takes them all"
            reader.reading.problem(name.place, message, f"put {greedy} last")
        elif _takes_all(block):
            greedy = block.name
        found.append(block)
    return found


def _takes_all(block: Block) -> bool:
    """Tell whether every device is in a group."""
    if block.where == "ring":
        return not block.value("hosts") or "*" in block.value("hosts")
    given = [block.value(key) for key in ("hosts", "models") if block.has(key)]
    return bool(given) and all("*" in globs for globs in given)
