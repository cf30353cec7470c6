"""What the units of a manifest say of each other: names shared, order asked for."""

from __future__ import annotations

from piot_firstboot.blocks import Block, Reader, suggestion
from piot_firstboot.yamltext import Scalar


def judge_names(reader: Reader, top: Block) -> None:
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


def judge_order(reader: Reader, top: Block) -> None:
    """Hold every `after` against the services there are, and refuse circles."""
    services = [key.text for key, _ in top.value("services")]
    jobs = [key.text for key, _ in top.value("jobs")]
    order: dict[str, list[Scalar]] = {}
    for block in reader.blocks("services"):
        order[block.name] = []
        for item in block.value("after"):
            if item.text in services:
                order[block.name].append(item)
            elif item.text in jobs:
                reader.reading.problem(item.place, f"after names services; {item.text} is a job")
            else:
                hint = suggestion(item.text, services)
                reader.reading.problem(item.place, f"there is no service {item.text}", hint)
    _refuse_circles(reader, order)


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
