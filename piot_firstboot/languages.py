"""What the files of a repository tell about how its program is built and started.

Each detector looks at the names at the top and reads a few files, and adds what it found to the
guess. It only ever names what is there, so the result can be checked.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from piot_firstboot import yamltext, yamlvalues
from piot_firstboot.yamltext import Mapping, Scalar

PORT = "8080"  # for a web program that is told its port
# Services that a compose file takes from an image, and the Debian package that has them.
_IMAGES = {
    "postgres": "postgresql",
    "mariadb": "mariadb-server",
    "mysql": "mariadb-server",
    "redis": "redis-server",
    "valkey": "redis-server",
    "eclipse-mosquitto": "mosquitto",
    "mosquitto": "mosquitto",
    "nginx": "nginx",
    "memcached": "memcached",
    "rabbitmq": "rabbitmq-server",
}


@dataclass(slots=True)
class Guess:
    """What is known so far of an app, and of how it came to be known.

    `names` are those at the top, `inside` lists a folder. `read` returns a file's text or None,
    `runnable` tells whether one may be executed.
    """

    names: list[str]
    inside: Callable[[str], list[str]]
    read: Callable[[str], str | None]
    runnable: Callable[[str], bool]
    apt: list[str] = field(default_factory=list)
    python: str = ""
    build: list[str] = field(default_factory=list)
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """Say what was found, and what was made of it."""
        self.told.append(text)

    def web(self, run: str, **more: Any) -> None:
        """Add the service that answers on a port."""
        port = int(more.pop("port", PORT))
        rows: dict[str, Any] = {"run": run, "port": str(port), **more}
        self.services["web"] = {**rows, "health": {"tcp": str(port), "within": "60s"}}


def python(guess: Guess) -> None:
    """requirements.txt, pyproject.toml, and the file that starts it all."""
    project = _toml(guess, "pyproject.toml").get("project")
    wanted = (guess.read("requirements.txt") or "").lower()
    if "requirements.txt" in guess.names:
        guess.python = "requirements.txt"
    elif isinstance(project, dict):
        guess.python = "pyproject.toml"
        wanted = str(project.get("dependencies", "")).lower()
    if guess.python:
        guess.tell(f"{guess.python}: its packages are installed for each release that needs them")
    if "manage.py" in guess.names:
        guess.tell("manage.py: a Django project, which migrates its database at each new commit")
        guess.web(f"python manage.py runserver 0.0.0.0:{PORT} --noreload")
        guess.jobs["migrate"] = {"run": "python manage.py migrate --noinput", "once": "commit"}
        return
    if _framework(guess, wanted):
        return
    scripts = project.get("scripts") if isinstance(project, dict) else None
    if guess.python == "pyproject.toml" and isinstance(scripts, dict) and scripts:
        script = str(next(iter(scripts)))
        guess.tell(f"pyproject.toml: it installs the program {script}")
        guess.services[unit_name(script)] = {"run": quote(script)}
        return
    main = _main(guess, ("main.py", "app.py", "server.py", "run.py", "bot.py", "web.py"), ".py")
    if main:
        guess.tell(f"{main}: started with python")
        guess.services[unit_name(main)] = {"run": f"python {quote(main)}"}


def _framework(guess: Guess, wanted: str) -> bool:
    """Look for the object that Flask, FastAPI and their like make, and for what serves it."""
    made = re.compile(
        r"^(\w+)(?:\s*:[^=\n]+)?\s*=\s*(Flask|FastAPI|Starlette|Quart)\(", re.MULTILINE
    )
    for name in ("app.py", "main.py", "wsgi.py", "asgi.py", "server.py", "web.py"):
        match = made.search(guess.read(name) or "")
        if not match:
            continue
        target, kind = f"{name.removesuffix('.py')}:{match[1]}", match[2]
        if kind == "Flask" and "gunicorn" in wanted:
            run = f"gunicorn {target} --bind 0.0.0.0:{PORT}"
        elif kind == "Flask":
            run = f"flask --app {target} run --host 0.0.0.0 --port {PORT}"
        elif "hypercorn" in wanted:
            run = f"hypercorn {target} --bind 0.0.0.0:{PORT}"
        else:
            run = f"uvicorn {target} --host 0.0.0.0 --port {PORT}"
        guess.tell(f"{name}: a {kind} app, served by {run.split()[0]} on port {PORT}")
        guess.web(run)
        return True
    return False


def node(guess: Guess) -> None:
    """package.json: its start script, its packages, its build."""
    if "package.json" not in guess.names:
        return
    try:
        package = json.loads(guess.read("package.json") or "")
    except (ValueError, RecursionError):
        guess.tell("package.json: not read, it is not JSON")
        return
    package = package if isinstance(package, dict) else {}
    scripts = package.get("scripts")
    scripts = scripts if isinstance(scripts, dict) else {}
    start = str(scripts.get("start", ""))
    named = str(package.get("main", ""))
    main = _main(guess, (named, "server.js", "index.js", "app.js"), ".js")
    if named in guess.names and "index.js" in guess.inside(named):
        main = named
    # Straight to node where that is all npm would do: one process less, and signals arrive.
    plain = re.fullmatch(r"node [\w./-]+", start)
    run = start if plain else "npm start" if start else f"node {quote(main)}" if main else ""
    if not run:
        return
    guess.tell(f"package.json: started with {run}")
    guess.services["web"] = {"run": run}
    guess.apt += ["nodejs"]
    steps = []
    if package.get("dependencies") or (scripts.get("build") and package.get("devDependencies")):
        clean = "package-lock.json" in guess.names
        omit = "" if scripts.get("build") else " --omit=dev"
        steps.append(f"npm {'ci' if clean else 'install'}{omit}")
    if scripts.get("build"):
        steps.append("npm run build")
    if steps or run == "npm start":
        guess.apt += ["npm"]
    if steps:
        guess.tell(f"package.json: built with {' and '.join(steps)}")
        guess.build += steps


def go(guess: Guess) -> None:
    """go.mod: one program, from the top or from cmd/."""
    match = re.search(r"^module\s+(\S+)", guess.read("go.mod") or "", re.MULTILINE)
    if not match:
        return
    top = [name for name in guess.names if name.endswith(".go") and not name.endswith("_test.go")]
    if any(re.search(r"(?m)^package main\b", guess.read(name) or "") for name in top):
        # The last part of the module's path, a version such as /v2 left out.
        programs = [unit_name(re.sub(r"/v\d+$", "", match[1]).rpartition("/")[2])]
        guess.build += [f"go build -o bin/{programs[0]} ."]
    else:
        folders = [name for name in guess.inside("cmd") if re.fullmatch(r"[\w-]+", name)]
        programs = [name for name in folders if any(map(_is_go, guess.inside(f"cmd/{name}")))]
        guess.build += ["go build -o bin/ ./cmd/..."] if programs else []
    for program in programs:
        guess.tell(f"go.mod: built with go build, started as bin/{program}")
        guess.services[unit_name(program)] = {"run": f"./bin/{program}"}
    guess.apt += ["golang-go"] if programs else []


def _is_go(name: str) -> bool:
    return name.endswith(".go")


def rust(guess: Guess) -> None:
    """Cargo.toml: the programs that it names, or those that lie where Cargo looks."""
    table = _toml(guess, "Cargo.toml")
    package, named = table.get("package"), table.get("bin")
    if not isinstance(package, dict):
        return
    rows = named if isinstance(named, list) else []
    found = [row.get("name") for row in rows if isinstance(row, dict)]
    if not found and "main.rs" in guess.inside("src"):
        found = [package.get("name")]
    found += [name.removesuffix(".rs") for name in guess.inside("src/bin") if name.endswith(".rs")]
    programs = [name for name in dict.fromkeys(map(str, found)) if re.fullmatch(r"[\w-]+", name)]
    for name in programs:
        guess.tell(f"Cargo.toml: built with cargo build --release, started as {name}")
        guess.services[unit_name(name)] = {"run": f"./target/release/{name}"}
    guess.apt += ["cargo"] if programs else []
    guess.build += ["cargo build --release"] if programs else []


def shell(guess: Guess) -> None:
    """Scripts: one that sounds like a start is a service, the others are jobs."""
    scripts = [name for name in guess.names if name.endswith(".sh") and name.isprintable()]
    starts = [n for n in ("run.sh", "start.sh", "main.sh", "serve.sh", "app.sh") if n in scripts]
    if starts and not guess.services:
        guess.tell(f"{starts[0]}: started and kept running")
        guess.services[unit_name(starts[0])] = {"run": _script(guess, starts[0])}
    elif scripts and not guess.services:
        for name in scripts[:3]:
            guess.tell(f"{name}: run once an hour until you say otherwise")
            unit = unit_name(name)
            guess.jobs[unit] = {"run": _script(guess, name), "every": "1h"}
            guess.comments[f"jobs.{unit}"] = "how often? every: 5min, or at: 02:30, Mon 09:00, …"


def compose(guess: Guess) -> None:
    """A compose file: what it takes from images may be a package of Debian."""
    names = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
    name = next((name for name in names if name in guess.names), "")
    root = yamltext.read((guess.read(name) or "").encode(), name).root if name else None
    for service, image in _images(root):
        short = image.rpartition("/")[2].partition(":")[0].partition("@")[0]
        package = _IMAGES.get(short)
        if package:
            guess.tell(f"{name}: {service} ({image}) becomes the Debian package {package}")
            guess.apt += [package]
        else:
            guess.tell(f"{name}: {service} ({image}) has no counterpart; name a package in needs")


def _images(root: yamltext.Node | None) -> list[tuple[str, str]]:
    """Return the services of a compose file with their images."""
    services = _value(root, "services")
    rows = services.pairs if isinstance(services, Mapping) else ()
    found = [(key.text, _value(service, "image")) for key, service in rows]
    return [(name, image.text) for name, image in found if isinstance(image, Scalar)]


def _value(node: yamltext.Node | None, key: str) -> yamltext.Node | None:
    rows = node.pairs if isinstance(node, Mapping) else ()
    return next((value for name, value in rows if name.text == key), None)


def _toml(guess: Guess, name: str) -> dict[str, Any]:
    """Read a TOML file, as far as it is one."""
    try:
        return tomllib.loads(guess.read(name) or "") if name in guess.names else {}
    except (ValueError, RecursionError):
        guess.tell(f"{name}: not read, it is not TOML")
        return {}


def _main(guess: Guess, usual: tuple[str, ...], end: str) -> str:
    """Return the usual name that is there, else the only file of its kind."""
    # A folder or a link to nowhere may be called like a program; YAML has no words for some names.
    files = [n for n in guess.names if n.endswith(end) and n.isprintable()]
    files = [n for n in {*files, *usual} if n in guess.names and guess.read(n) is not None]
    found = next((name for name in usual if name in files), "")
    kind = [name for name in files if name.endswith(end) and not name.startswith("test")]
    kind = [name for name in kind if name not in ("setup.py", "conftest.py")]
    return found or (kind[0] if len(kind) == 1 else "")


def _script(guess: Guess, name: str) -> str:
    """Start a script by itself where it may be executed, else by its shell."""
    word = quote(f"./{name}")
    if guess.runnable(name):
        return word
    shell = "bash" if "bash" in (guess.read(name) or "").partition("\n")[0] else "sh"
    return f"{shell} {word}"


def unit_name(text: str) -> str:
    """Make the name of a unit of a file's or a program's."""
    name = re.sub(r"\.(py|js|sh)$", "", text.lower())
    name = re.sub(r"[^a-z0-9_-]+", "-", name).strip("-_")[:40] or "app"
    try:
        return yamlvalues.unit_name(name)
    except ValueError:
        return "app"
