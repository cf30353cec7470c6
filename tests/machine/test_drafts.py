"""What `piot init` makes of a repository is deployed as it is: it builds, and what it built runs.

Each program notes in its own directory that it ran. All is offline, so a package that is needed
lies in the repository. Go and Rust take 500 MB of compilers, so they are for --long.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import pytest

from piot_firstboot.check import check
from piot_firstboot.findings import Findings
from piot_firstboot.init import init
from piot_firstboot.preview import preview
from tests.kit import deb, roots
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.wait import eventually

_FS = "require('fs')"
_NOTE = f"{_FS}.appendFileSync(process.env.STATE_DIRECTORY + '/ran', require('greeting') + '\\n');"
_SERVE = f"{_NOTE}\nsetInterval(() => {{}}, 1e6);\n"
_GREETING = {
    "greeting/package.json": json.dumps({"name": "greeting", "version": "1.0.0"}),
    "greeting/index.js": "module.exports = 'good morning';\n",
}
_DEPENDS = {"greeting": "file:greeting"}
_GO = """\
package main
import ("os"; "time")
func main() {
    os.WriteFile(os.Getenv("STATE_DIRECTORY")+"/ran", []byte("NAME good morning\\n"), 0o644)
    for { time.Sleep(time.Hour) }
}
"""
_RUST = """\
use std::{env, fs, thread, time::Duration};
fn main() {
    let place = env::var("STATE_DIRECTORY").unwrap();
    fs::write(place + "/ran", "good morning\\n").unwrap();
    loop { thread::sleep(Duration::from_secs(3600)); }
}
"""


@dataclass(frozen=True)
class Draft:
    """A repository, the lines that its programs note, and lines that the manifest must have."""

    files: Mapping[str, str]
    ran: tuple[str, ...]
    made: tuple[str, ...]


APPS = {
    "locked": Draft(
        {
            "package.json": json.dumps(
                {
                    "name": "locked",
                    "scripts": {"start": "node server.js"},
                    "dependencies": _DEPENDS,
                }
            ),
            "package-lock.json": json.dumps(
                {
                    "name": "locked",
                    "lockfileVersion": 3,
                    "requires": True,
                    "packages": {
                        "": {"name": "locked", "dependencies": _DEPENDS},
                        "greeting": {"version": "1.0.0"},
                        "node_modules/greeting": {"resolved": "greeting", "link": True},
                    },
                }
            ),
            "server.js": _SERVE,
            **_GREETING,
        },
        ("good morning",),
        ("build: npm ci --omit=dev", "    run: node server.js"),
    ),
    "built": Draft(
        {
            "package.json": json.dumps(
                {
                    "name": "built",
                    "scripts": {
                        "build": "mkdir -p dist && cp server.js dist/",
                        "start": "NODE_ENV=production node dist/server.js",
                    },
                    "devDependencies": _DEPENDS,
                }
            ),
            "server.js": _SERVE,
            **_GREETING,
        },
        ("good morning",),
        ('build: [sh, "-c", "npm install && npm run build"]', "    run: npm start"),
    ),
    "composed": Draft(
        {
            "compose.yaml": "services:\n  queue: {image: eclipse-mosquitto:2}\n  web: {build: .}\n",
            "main.py": (
                "import os, pathlib, socket, time\n"
                "socket.create_connection(('localhost', 1883), 10).close()\n"
                "pathlib.Path(os.environ['STATE_DIRECTORY'], 'ran').write_text('good morning\\n')\n"
                "time.sleep(1e6)\n"
            ),
        },
        ("good morning",),
        ("  apt: [mosquitto]", "    run: python main.py"),
    ),
}
COMPILED = {
    "gopher": Draft(
        {"go.mod": "module example.org/gopher\n\ngo 1.19\n", "main.go": _GO},
        ("NAME good morning",),
        ("  apt: [golang-go]", "    run: ./bin/gopher"),
    ),
    "tools": Draft(
        {"go.mod": "module example.org/tools\n", "cmd/sensor/main.go": _GO},
        ("NAME good morning",),
        ("build: go build -o bin/ ./cmd/...", "    run: ./bin/sensor"),
    ),
    "crab": Draft(
        {"Cargo.toml": '[package]\nname = "crab"\nversion = "0.1.0"\n', "src/main.rs": _RUST},
        ("good morning",),
        ("build: cargo build --release", "    run: ./target/release/crab"),
    ),
}


def test_drafts_build_and_run(
    machine: Callable[..., Machine],
    git_server: Callable[..., GitServer],
    release: str,
    pytestconfig: pytest.Config,
) -> None:
    long = pytestconfig.getoption("--long")
    apps = {**APPS, **(COMPILED if long else {})}
    layer = ("nodejs", "npm", "mosquitto", *(("golang-go", "cargo") if long else ()))
    pi = machine(roots.base(release, layer)).boot()
    server = git_server(pi)
    conf = []
    for name, draft in apps.items():
        repo = server.repo(name)
        for path, text in draft.files.items():
            (repo.work / path).parent.mkdir(parents=True, exist_ok=True)
            (repo.work / path).write_text(text)
        made = init(str(repo.work)).text.splitlines()
        assert set(draft.made) <= set(made), made
        assert check([str(repo.work)]) == Findings()
        assert preview(str(repo.work), release=release).files
        repo.commit({})
        conf.append(f"[app.{name}]\nrepo = {repo.url}\npoll = off\n")
    pi.install(deb.deb())
    pi.write("/boot/firmware/piot.conf", "".join(conf))
    pi.sh("piot apply")
    for name, draft in apps.items():
        pi.run(["systemctl", "start", f"piot-deploy@{name}"], timeout=600)
        assert "state  committed" in pi.sh(f"piot status {name}"), pi.sh(f"piot status {name}")
        ran = eventually(partial(_ran, pi, name), 20, f"what {name} notes", 0.5)
        assert set(ran) == set(draft.ran)
    assert not pi.sh("systemctl list-units --failed --no-legend --plain")


def _ran(pi: Machine, name: str) -> list[str]:
    file = f"/var/lib/piot-{name}/ran"
    return pi.read(file).splitlines() if pi.exists(file) else []
