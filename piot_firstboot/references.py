"""What the blocks of a manifest say of each other: names shared, order asked for, ports, roles."""

from __future__ import annotations

from fnmatch import fnmatchcase

from piot_firstboot.blocks import Block, Reader, suggestion
from piot_firstboot.yamltext import Scalar


def judge(reader: Reader, top: Block) -> None:
    """Hold every name that a block uses against what has that name."""
    services = [key.text for key, _ in top.value("services")]
    jobs = [key.text for key, _ in top.value("jobs")]
    _judge_names(reader, top)
    _judge_order(reader, services, jobs)
    _judge_update(reader, top, services, jobs)
    _judge_ports(reader)
    _judge_roles(reader, top)


def _judge_names(reader: Reader, top: Block) -> None:
    """Refuse names that two units, or a unit and a health check, would share."""
    services = {key.text: (key, node) for key, node in top.value("services")}
    for key, _ in top.value("jobs"):
        if key.text in services:
            first = services[key.text][0].place.line
            reader.reading.problem(key.place, f"{key.text} is a service already, in line {first}")
    for key, _ in (*top.value("services"), *top.value("jobs")):
        served = key.text.removesuffix("-check")
        if served != key.text and served in services:
            message = f"the name {key.text} is kept for the health check of {served}"
            reader.reading.problem(key.place, message)


def _judge_order(reader: Reader, services: list[str], jobs: list[str]) -> None:
    """Hold every `after` against the units there are, and refuse circles."""
    order: dict[str, list[Scalar]] = {}
    known = (*services, *jobs)
    everything, of_services = set(known), set(services)
    for block in (*reader.blocks("services"), *reader.blocks("jobs")):
        order[block.name] = []
        serves = block.where == "services"
        for item in block.value("after"):
            name = item.text
            if name not in everything:
                what = "service" if serves else "service or job"
                hint = suggestion(name, services if serves else known)
                reader.reading.problem(item.place, f"there is no {what} {name}", hint)
            elif serves and name not in of_services:
                hint = "a job with once: commit runs before all services as it is"
                message = f"after in a service names services; {name} is a job"
                reader.reading.problem(item.place, message, hint)
            elif not serves and name in of_services and block.value("once") == "commit":
                message = f"a job with once: commit runs before the services, {name} among them"
                reader.reading.problem(item.place, message, "use once: boot, or every:")
            else:
                order[block.name].append(item)
    _refuse_circles(reader, order)


def _judge_update(reader: Reader, top: Block, services: list[str], jobs: list[str]) -> None:
    """Hold `gate` and `reload` against the services."""
    block = top.inner("update")
    if block is None:
        return
    reloaded = [name for name, _ in block.value("reload")]
    for key, items in (("gate", block.value("gate") or ()), ("reload", reloaded)):
        for item in items:
            if item.text in jobs:
                message = f"{key} names services; {item.text} is a job"
                reader.reading.problem(item.place, message)
            elif item.text not in services:
                hint = suggestion(item.text, services)
                reader.reading.problem(item.place, f"there is no service {item.text}", hint)


def _judge_ports(reader: Reader) -> None:
    """Refuse a port that two services of one device would listen on."""
    first: dict[int, Block] = {}
    for block in reader.blocks("services"):
        port, apart = block.value("port"), block.has("when")
        if port is None:
            continue
        other = first.get(port)
        if other is None:
            first[port] = block
        elif not (apart and other.has("when")):
            message = f"port {port} is that of {other.name} already, in line {other.place.line}"
            reader.reading.problem(block.key("port"), message)


def _judge_roles(reader: Reader, top: Block) -> None:
    """Refuse a role that none of the fleet has; without `fleet: roles:` any will do."""
    fleet = top.inner("fleet")
    roles = [key.text for key, _ in fleet.value("roles")] if fleet else []
    if not roles:
        return
    for block in reader.blocks("when"):
        for item in block.value("role"):
            if not any(fnmatchcase(role, item.text) for role in roles):
                close = suggestion(item.text, roles)
                hint = close or f"add it to fleet: roles: {item.text}: {{}}"
                reader.reading.problem(item.place, f"the fleet has no role {item.text}", hint)


def _refuse_circles(reader: Reader, order: dict[str, list[Scalar]]) -> None:
    """Follow `after` depth first; a service met again on its own path closes a circle."""
    done: set[str] = set()
    for start in order:
        path, waiting = [start], [iter(order[start])]
        while path:
            item = None if path[-1] in done else next(waiting[-1], None)
            if item is None:
                done.add(path.pop())
                waiting.pop()
            elif item.text in path:
                circle = [*path[path.index(item.text) :], item.text]
                reader.reading.problem(item.place, f"after goes in a circle: {' → '.join(circle)}")
            elif item.text not in done:
                path.append(item.text)
                waiting.append(iter(order.get(item.text, ())))
