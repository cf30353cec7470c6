"""Secrets of a piot.conf that was applied: out of the boot partition, into the store."""

from __future__ import annotations

from collections.abc import Iterator

from piot_firstboot import vault
from piot_firstboot.conftext import Entry
from piot_firstboot.found import STORED
from piot_firstboot.intake import Intake
from piot_firstboot.items import Credential
from piot_firstboot.ledger import Outcome
from piot_firstboot.privatekey import is_text
from piot_firstboot.system import System


def conceal(system: System, taken: Intake, outcomes: tuple[Outcome, ...]) -> str:
    """Move secrets that were applied from the file to the store; return why not, if so.

    Those of a section that failed stay: the person will want to see what they wrote.
    """
    failed = {s for o in outcomes if o.row.state == "failed" for s in o.part.sections}
    items = (item for part in taken.parts for item in part.items)
    given = {item.name: item.value for item in items if isinstance(item, Credential)}
    troubles: list[str] = []
    entries: list[tuple[str, Entry]] = []  # each with the file that it names, if it names one
    stay: set[str] = set()  # files that not all who name them have stored
    for part in taken.config.found:
        for key, entry in part.entries.items():
            row = part.rows.get(key) or part.rows["*"]
            if not row.stored:
                continue
            if part.block.name in failed:
                stay.add(part.values[row.attribute] if row.file else "")
                continue
            name = key if row.key == "*" else f"{part.block.name}.{key}"
            value = part.values[key if row.key == "*" else row.attribute]
            file = value if row.file and not is_text(value) else ""
            if file:
                value = vault.as_text(taken.facts.files[file])
            # What a power cut left half overwritten is in the store already; a password that was
            # put there by hand becomes its hash.
            if key not in part.from_store or name in taken.keeps:
                try:
                    vault.put(system, name, taken.keeps.get(name, given.get(name, value)))
                except OSError as error:
                    # What is not in the store stays in the file, and is used from there.
                    troubles.append(f"{name} could not be stored: {error.strerror}")
                    stay.add(file)
                    continue
            if entry.value != STORED:
                entries.append((file, entry))
    folder = taken.path.rpartition("/")[0]
    for file in dict.fromkeys(file for file, _ in entries if file and file not in stay):
        trouble = vault.erase(system, f"{folder}/{file}")
        if trouble:
            troubles.append(trouble)
            stay.add(file)
    # Last, because a file that is named and gone is looked for in the store; and one that is still
    # there must be named, or nobody would come back for it.
    named = [entry for file, entry in entries if not file or file not in stay]
    troubles.append(vault.conceal(system, taken.path, taken.data, named))
    return "; ".join(filter(None, troubles))


def forget(system: System, taken: Intake, outcomes: tuple[Outcome, ...]) -> None:
    """Drop what the store holds for sections that left the file."""
    there = {part.block.name for part in taken.config.found}
    done = (o.part.sections for o in outcomes if not o.part.items and o.row.state == "applied")
    gone = {section for sections in done for section in sections} - there
    for name in vault.names(system):
        if name.rpartition(".")[0] in gone:
            vault.drop(system, name)


def unstored(taken: Intake) -> Iterator[str]:
    """List the keys whose secret still stands in the file; on a tree it stays there."""
    for part in taken.config.found:
        for key, entry in part.entries.items():
            if (part.rows.get(key) or part.rows["*"]).stored and entry.value != STORED:
                yield key
