"""The tutorial as a program: its files are written, its commands run, its output compared.

docs/tutorial.md has blocks of three kinds. One that begins with `# file: NAME` is a file of the
person's repository (or, as `pi:/PATH`, of the device); `console` blocks are commands on the laptop,
`$ …`, or on the device, `pi$ …`, each with what it printed. What differs from run to run (hashes,
times) is made equal before it is compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

TUTORIAL = Path(__file__).parents[2] / "docs/tutorial.md"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"\A# file: (\S+)\n")
SHOWN = 9  # lines of what goes on for ever
# Runs a command, on the laptop or on the device, and returns what it printed.
Run = Callable[[str, bool], str]
Write = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block, and what the tutorial says it prints."""

    text: str
    on_device: bool
    said: str


def play(text: str, run: Run, write: Write) -> tuple[str, list[str]]:
    """Play a tutorial; return it with what was really printed, and the lines that differ."""
    wrong: list[str] = []

    def block(match: re.Match[str]) -> str:
        language, body = match[1], match[2]
        file = _FILE.match(body)
        if file:
            write(file[1], body[file.end() :])
        if language != "console":
            return match[0]
        shown = []
        for command in commands(body):
            printed = run(command.text, command.on_device)
            wrong.extend(differences(command, printed))
            if command.text.endswith("-f"):
                printed = "".join(printed.splitlines(keepends=True)[:SHOWN])
            prompt = "pi$" if command.on_device else "$"
            shown.append(f"{prompt} {command.text}\n{printed}")
        return f"```console\n{''.join(shown)}```"

    return _BLOCK.sub(block, text), wrong


def commands(body: str) -> Iterator[Command]:
    """Part a console block into commands with their output."""
    for part in re.split(r"^(?=(?:pi)?\$ )", body, flags=re.MULTILINE):
        if part:
            line, _, said = part.partition("\n")
            prompt, _, text = line.partition(" ")
            yield Command(text, prompt == "pi$", said)


def differences(command: Command, printed: str) -> list[str]:
    """Return what the tutorial says otherwise; of what goes on for ever, its lines must come."""
    said, got = neutral(command.said).splitlines(), neutral(printed).splitlines()
    if said == got or (command.text.endswith("-f") and set(said) <= set(got)):
        return []
    return [f"{command.text}: says\n{command.said}\nbut it is\n{printed}"]


def neutral(text: str) -> str:
    """Make equal what differs from run to run."""
    for pattern, word in (
        (r"\b[0-9a-f]{40}\b|\b[0-9a-f]{12}\b|\b[0-9a-f]{7}\b(?=[\] .])", "HASH"),
        (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d \w+", "TIME"),
        (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+\d\d:\d\d", "TIME"),
        (r"\d+ (s|min|second|minute)s?( ago)?\b|just now", "A WHILE"),
        (r"\[\d+\]", "[PID]"),
        (r"\b\d+\.\d\b", "NUMBER"),
        (r"[ \t]+$", ""),
        (r"(\.timer +active) \(\w+\)", r"\1"),  # running, where its job happens to
        # The version before may say something still while it is stopped.
        (r"^\s+NUMBER degrees.*\n", ""),
    ):
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    return text
