"""A Procfile, as Heroku, foreman, honcho and piku read it, turned into the nodes of a manifest.

Each process becomes a service, `release` a job of the commit, `preflight` the build, and piku's
`cron…: m h d mon dow command` a job with a time. The nodes keep their places, so what the judge
of manifests finds wrong is shown where it stands in the Procfile.
"""

from __future__ import annotations

import re
from contextlib import suppress

from piot_firstboot import dotenv
from piot_firstboot.command import CommandError, split
from piot_firstboot.manifest import Manifest, judge
from piot_firstboot.yamltext import Enough, Mapping, Node, Place, Reading, Scalar, Sequence, decode

NAME = "Procfile"
# Files of variables beside it, the first that is there: piku's, and that of foreman and honcho.
ENV_NAMES = ("ENV", ".env")
# foreman(1): the first process is given this port, each following kind 100 more.
FIRST_PORT, PORT_STEP = 5000, 100
_LINE = re.compile(r"\s*([^\s:][^:]*?)\s*:\s*(.*)")
_CRON = re.compile(r"((?:\S+\s+){5})(\S.*)")
_QUOTED = re.compile(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|\\.", re.DOTALL)
# A word that a shell spreads into several: file names, a home directory, a variable with blanks.
# `$PORT` is a number, and so one word with or without a shell.
_SPREAD = re.compile(r"[*?\[]|(?:^|[\s=:])~|\$(?!\$|PORT\b|\{PORT\})")
# Kinds that piku starts with a server of its own.
_SERVED = {
    "wsgi": "write web: gunicorn MODULE:APP --bind :$PORT",
    "jwsgi": "write web: and the command that starts the server",
    "rwsgi": "write web: and the command that starts the server, such as puma -p $PORT",
    "php": "write web: php -S :$PORT",
    "static": "write web: python -m http.server $PORT --directory DIR",
    "identity": "leave it out",
}


def parse(
    data: bytes, source: str = NAME, env: tuple[str, bytes] = ("", b""), python: str = ""
) -> Manifest:
    """Read and judge a Procfile; raises ConfigError with every problem in all that it reads."""
    return judge(read(data, source, env, python))


def read(
    data: bytes, source: str = NAME, env: tuple[str, bytes] = ("", b""), python: str = ""
) -> Reading:
    """Read a Procfile into the nodes of a manifest; `root` is None when it cannot be used.

    `env` is the name and content of the file of variables, `python` the name of the file that
    lists Python packages, which Heroku and piku install for every app that has one.
    """
    reading = Reading(source)
    variables = dotenv.read(*env) if env[0] else Reading("")
    reading.problems += variables.problems
    if decode(data, reading) is None:
        return reading
    names = variables.root.pairs if isinstance(variables.root, Mapping) else ()
    ports = [v.text for k, v in names if k.text == "PORT" and isinstance(v, Scalar)]
    file = _File(reading, ports[0] if ports else "")
    with suppress(Enough):
        for number, line in enumerate(reading.lines, 1):
            file.line(number, line)
        reading.root = file.root(names, python)
    return reading


class _File:
    """One Procfile being read, line by line."""

    def __init__(self, reading: Reading, port: str) -> None:
        self._reading, self._port = reading, port
        self._first: dict[str, int] = {}
        self._services: list[tuple[Scalar, Node]] = []
        self._jobs: list[tuple[Scalar, Node]] = []
        self._build: Node | None = None

    def line(self, number: int, line: str) -> None:
        """Read one line."""
        if not line.strip() or line.lstrip().startswith("#"):
            return
        match = _LINE.fullmatch(line)
        if not match:
            hint = "write it like web: python app.py"
            self._reading.problem(Place(number, 1, len(line)), "expected NAME: command", hint)
            return
        key = Scalar(match[1].lower(), Place(number, match.start(1) + 1, len(match[1])))
        command = Scalar(match[2].rstrip(), Place(number, match.start(2) + 1, len(match[2])))
        if key.text in self._first:
            message = f"{key.text} is given twice, first in line {self._first[key.text]}"
            self._reading.problem(key.place, message)
            return
        self._first[key.text] = number
        self._process(key, command)

    def root(self, env: tuple[tuple[Scalar, Node], ...], python: str) -> Mapping | None:
        """Return the manifest that the lines come to."""
        whole = Place(1, 1)
        if self._reading.problems and not self._services and not self._jobs:
            return None  # what there is to say has been said
        if not self._first:
            hint = "write a line such as web: python app.py"
            self._reading.problem(Place(0, 0), "there is no process in this Procfile", hint)
            return None
        needs = ((Scalar("python", whole), Scalar(python, whole)),)
        parts: list[tuple[str, Node | None]] = [
            ("piot", Scalar("1", whole)),
            ("needs", Mapping(needs, whole) if python else None),
            ("build", self._build),
            ("env", Mapping(env, whole) if env else None),
            ("services", Mapping(tuple(self._services), whole) if self._services else None),
            ("jobs", Mapping(tuple(self._jobs), whole) if self._jobs else None),
        ]
        return Mapping(tuple((Scalar(k, whole), v) for k, v in parts if v is not None), whole)

    def _process(self, key: Scalar, command: Scalar) -> None:
        problem = self._reading.problem
        if key.text in _SERVED:
            problem(key.place, f"{key.text}: is started by piku itself", _SERVED[key.text])
        elif not command.text:
            problem(key.place, f"{key.text} has no command")
        elif key.text.startswith("cron"):
            self._cron(key, command)
        elif key.text == "release":
            self._jobs.append((key, self._unit(key, command, ("once", "commit"))))
        elif key.text == "preflight":
            shell = [Scalar(word, command.place, False) for word in ("/bin/sh", "-c", command.text)]
            self._build = Sequence(tuple(shell), command.place) if self._shell(command) else command
        else:
            self._services.append((key, self._service(key, command)))

    def _service(self, key: Scalar, command: Scalar) -> Mapping:
        port = self._port or str(FIRST_PORT + PORT_STEP * len(self._services))
        unit = self._unit(key, command)
        pairs = list(unit.pairs)
        if not self._port:
            row = (Scalar("PORT", key.place), Scalar(port, key.place, False))
            pairs.append((Scalar("env", key.place), Mapping((row,), key.place)))
        if key.text == "web" and re.fullmatch(r"[1-9][0-9]{0,4}", port):
            pairs.insert(1, (Scalar("port", key.place), Scalar(port, key.place)))
        return Mapping(tuple(pairs), key.place)

    def _cron(self, key: Scalar, line: Scalar) -> None:
        match = _CRON.fullmatch(line.text)
        if not match:
            hint = "write it like cron1: 30 2 * * * ./backup.sh"
            self._reading.problem(line.place, "expected five fields of crontab and a command", hint)
            return
        when, begin = match[1].rstrip(), line.place.column
        at = Scalar(when, Place(line.place.line, begin, len(when)))
        place = Place(line.place.line, begin + match.start(2), len(match[2]))
        unit = self._unit(key, Scalar(match[2], place))
        self._jobs.append((key, Mapping((*unit.pairs, (Scalar("at", key.place), at)), key.place)))

    def _unit(self, key: Scalar, command: Scalar, *more: tuple[str, str]) -> Mapping:
        """Return the keys that every unit has: a line of a Procfile is a line for a shell."""
        rows: list[tuple[Scalar, Node]] = [(Scalar("run", key.place), command)]
        if self._shell(command):
            rows.append((Scalar("shell", key.place), Scalar("true", key.place)))
        rows += [(Scalar(name, key.place), Scalar(value, key.place)) for name, value in more]
        return Mapping(tuple(rows), key.place)

    def _shell(self, command: Scalar) -> bool:
        """Tell whether only a shell gives the line the meaning that it has in a Procfile."""
        if _SPREAD.search(_QUOTED.sub("_", command.text)):
            return True
        try:
            split(command.text)
        except CommandError as error:
            return "shell" in f"{error} {error.hint}"
        return False
