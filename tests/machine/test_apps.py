"""Apps on booted machines: what is installed and built, what runs, what a deploy leaves alone.

One machine a release lives through all of it, in the order of this file, as a device does. Its app
is one of Python with requirements, Node, shell and C at once; all is offline.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.kit import aptsource, roots
from tests.kit.deb import deb
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine
from tests.kit.network import Network
from tests.kit.wait import eventually
from tests.kit.wheel import wheel

pytestmark = pytest.mark.machine

LAYER = ("gcc", "libc6-dev", "nodejs", "python3-venv")
SERVICES = ("py", "node", "sh", "c")

MANIFEST = """\
piot: 1
name: mix
needs: {apt: [gcc, libc6-dev, nodejs], python: requirements.txt}
build: ./build.sh "a b" $GREETING
env_file: mix.env
env: {GREETING: '100% "$HOME" \\', LINES: "a\\nb\\nc"}
services:
  py:
    run: python py/main.py
    watch: ["py/**", requirements.txt, wheels]
    health: &quick {within: 10s, steady: 1s}
  node: {run: node node/main.js, watch: [node], health: *quick}
  sh: {run: ./sh/main.sh, watch: ["sh/*.sh"], health: *quick}
  c: {run: ./c/main, watch: [c, build.sh], health: *quick}
jobs:
  tick: {run: ./note.sh tick, every: 2s}
  late: {run: ./note.sh late, at: "02:30", jitter: 20m, catch_up: true}
  missed: {run: ./note.sh missed, at: "02:30", catch_up: true}
  long: {run: ./long.sh, at: "03:00"}
  tool: {run: greet tool, once: commit}
"""

GREETER = """\
import os, sys
VERSION = "{version}"
def main():
    with open(os.environ["STATE_DIRECTORY"] + "/ran", "a") as file:
        print(sys.argv[1], os.environ["PIOT_COMMIT"], VERSION, file=file)
"""
FILES = {
    ".piot.yaml": MANIFEST,
    "requirements.txt": "--no-index\n--find-links wheels\n-r more.txt\n",
    "more.txt": "greeter==1.0\n",
    "build.sh": (
        "#!/bin/sh\nset -e\n"
        'echo "as $(id -un) in $PWD, $# arguments: $1, $2, $GREETING"\n'
        'echo "beside: $(ls .. | tr "\\n" " ")"\n'
        "touch /usr/escaped /var/lib/piot/apps/escaped ../escaped 2>/dev/null && echo escaped\n"
        'echo "env_file: $BUILD_AS"; echo "$LINES" | grep -c .\n'
        'command -v greet\nset -- *.fail\n[ "$1" = "*.fail" ] || { echo "no good: $1"; exit 7; }\n'
        "umask 077\ngcc -O1 -o c/main c/main.c\n"
    ),
    "py/main.py": (
        "import time, yaml, greeter, sys\n"
        'sys.argv = ["", "py"]\ngreeter.main()\ntime.sleep(1e6)\n'
    ),
    "node/main.js": (
        "const note = `node ${process.env.PIOT_COMMIT} ${process.version}\\n`;\n"
        "require('fs').appendFileSync(process.env.STATE_DIRECTORY + '/ran', note);\n"
        "setInterval(() => {}, 1e6);\n"
    ),
    "sh/main.sh": "#!/bin/sh\n./note.sh sh\nexec sleep infinity\n",
    "c/main.c": (
        "#include <stdio.h>\n#include <stdlib.h>\n#include <unistd.h>\n"
        "int main(void) {\n"
        '  char path[200]; snprintf(path, 200, "%s/ran", getenv("STATE_DIRECTORY"));\n'
        '  FILE *file = fopen(path, "a");\n'
        '  fprintf(file, "c %s compiled\\n", getenv("PIOT_COMMIT")); fclose(file);\n'
        "  for (;;) pause();\n}\n"
    ),
    "mix.env": "# for all of it\nGREETING=not this one\nBUILD_AS=release\n",
    "pip.py": "raise SystemExit('not this one')\n",
    "note.sh": '#!/bin/sh\necho "$1 $PIOT_COMMIT" >>"$STATE_DIRECTORY/ran"\n',
    "long.sh": (
        "#!/bin/sh\n./note.sh began\n"
        'while [ ! -e "$STATE_DIRECTORY/enough" ]; do sleep 0.2; done\n./note.sh ended\n'
    ),
}  # fmt: skip

# A project that builds itself, by a backend of its own (PEP 517), so that nothing is downloaded.
PROJECT = """\
[project]
name = "mixed"
version = "1.0"
dependencies = ["greeter==2.0"]
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = """\
import zipfile
def build_wheel(folder, config_settings=None, metadata_directory=None):
    info = "mixed-1.0.dist-info"
    files = {
        "mixed.py": "COLOUR = 'blue'\\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: mixed\\nVersion: 1.0\\n"
        "Requires-Dist: greeter==2.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(f"{folder}/mixed-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "mixed-1.0-py3-none-any.whl"
"""


@dataclass
class Pi:
    """The machine under test with its app's repository."""

    machine: Machine
    repo: Repo

    def status(self) -> dict[str, Any]:
        """Return `piot status --json` of the app."""
        row: dict[str, Any] = json.loads(self.machine.sh("piot status --json"))["apps"][0]
        return row

    def push(self, files: dict[str, str | bytes | None], *, ok: bool = True) -> str:
        """Commit, deploy as the timer does, and return the commit; it must run, or not, at once."""
        commit = self.repo.commit(files)
        self.machine.run(["systemctl", "start", "piot-deploy@mix"], check=False, timeout=180)
        assert (self.status()["commit"] == commit) == ok, self.log()
        return commit

    def log(self) -> str:
        """Return what the last deploy said."""
        return self.machine.sh("journalctl -o cat -n 40 -u piot-deploy@mix")

    def ran(self, what: str) -> list[list[str]]:
        """Return what was noted by a service or job, one row a start, oldest first."""
        rows = [line.split() for line in self.machine.read("/var/lib/piot-mix/ran").splitlines()]
        return [row[1:] for row in rows if row[0] == what]

    def units(self) -> dict[str, tuple[str, str, str]]:
        """Return process, restarts and commit of each service."""
        found = {}
        for name in SERVICES:
            unit = f"piot-mix-{name}.service"
            shown = self.machine.sh(f"systemctl show -P MainPID -P NRestarts {unit}").split()
            text = self.machine.read(f"/etc/systemd/system/{unit}")
            found[name] = (*shown, text.split("Environment=PIOT_COMMIT=")[1].split()[0])
        return found  # type: ignore[return-value]

    def release(self, commit: str) -> str:
        """Return the directory of a release."""
        return f"/var/lib/piot/apps/mix/releases/{commit}"


@pytest.fixture(scope="module", params=roots.RELEASES)
def pi(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """Return a machine with PioT that follows the app's repository, without a timer of its own."""
    folder = tmp_path_factory.mktemp(request.param)
    with (
        Network() as network,
        GitServer(folder / "git", network) as server,
        Machine(roots.base(request.param, LAYER), network, hostname="mix-pi") as machine,
    ):
        machine.boot()
        machine.install(deb())
        repo = server.repo("mix")
        url = server.url("mix")
        machine.write("/boot/firmware/piot.conf", f"[app]\nrepo = {url}\npoll = off\n")
        machine.sh("piot apply")
        yield Pi(machine, repo)


def wheels(version: str) -> dict[str, str | bytes | None]:
    """Return a directory of wheels with one version of the greeter."""
    files = {"greeter.py": GREETER.format(version=version)}
    name, data = wheel("greeter", version, files, {"greet": "greeter:main"})
    return {f"wheels/{name}": data}


def test_everything_is_made_and_runs(pi: Pi) -> None:
    commit = pi.push({**FILES, **wheels("1.0")})
    m = pi.machine
    assert pi.ran("py") == pi.ran("tool") == [[commit, "1.0"]]
    assert pi.ran("c") == [[commit, "compiled"]]
    assert pi.ran("sh") == [[commit]]
    ((_, version),) = pi.ran("node")
    assert version == m.sh("node --version")
    pids = ",".join(pid for pid, _, _ in pi.units().values())
    owners = m.sh(f"ps -o user:20= -p {pids}")
    assert set(owners.split()) == {"piot-mix"}
    eventually(lambda: len(pi.ran("tick")) >= 2, 20, "two runs of the periodic job", 0.3)


def test_the_build_ran_as_the_app_in_a_sandbox(pi: Pi) -> None:
    m, commit = pi.machine, pi.repo.head()
    release = pi.release(commit)
    log = m.sh(f"journalctl -o cat -t mix-build PIOT_APP=mix PIOT_COMMIT={commit}").splitlines()
    greeting = '100% "$HOME" \\'
    assert f"as piot-mix in {release}, 2 arguments: a b, {greeting}, {greeting}" in log
    assert f"beside: {commit}" in log, "it sees no other release"
    assert f"{release}/.venv/bin/greet" in log
    assert "env_file: release" in log and "3" in log
    assert "escaped" not in log
    assert "Successfully installed greeter-1.0" in m.sh("journalctl -o cat -t mix-python")
    assert "escaped" not in m.sh("ls /usr /var/lib/piot/apps /var/lib/piot/apps/mix/*")
    others = m.sh(
        f"find {release}/ /var/lib/piot/apps/mix/venvs/ ! -user root -o -perm /6022 ! -type l"
    )
    assert others == "", "what was built belongs to root"
    assert m.sh(f"stat -c '%U:%G %a' {release}/c/main") == "root:piot-mix 750"
    assert m.sh("systemctl list-units --all --no-legend 'piot-build@*'") == ""


def test_a_deploy_that_changes_nothing_for_a_service_leaves_it_alone(pi: Pi) -> None:
    before = pi.units()
    assert len({commit for _, _, commit in before.values()}) == 1
    for number in range(4):
        last = pi.push({"README": str(number)})
    assert pi.units() == before
    assert {restarts for _, restarts, _ in before.values()} == {"0"}
    first = before["py"][2]
    releases = pi.machine.sh("ls /var/lib/piot/apps/mix/releases").split()
    assert first in releases and last in releases
    assert len(releases) == 4, "three are kept, and the one that the units name"
    assert pi.ran("tick")[-1] == [first] or pi.ran("tick")[-1][0] in releases
    eventually(lambda: pi.ran("tick")[-1] == [last], 10, "the next run, in the new release", 0.3)


def test_the_environment_is_shared(pi: Pi) -> None:
    links = pi.machine.sh("readlink /var/lib/piot/apps/mix/releases/*/.venv").split()
    assert len(links) == 4 and len(set(links)) == 1
    assert int(pi.machine.sh(f"du -sk {links[0]}").split()[0]) < 1000, "pip itself is not in it"
    assert len(pi.ran("tool")) == 5, "a script of it runs in each release"


@pytest.mark.parametrize(
    ("name", "path", "text"),
    [
        ("node", "node/main.js", FILES["node/main.js"] + "// 2\n"),
        ("sh", "sh/main.sh", FILES["sh/main.sh"] + "# 2\n"),
        ("c", "c/main.c", FILES["c/main.c"] + "// 2\n"),
    ],
)
def test_only_what_watches_a_file_restarts(pi: Pi, name: str, path: str, text: str) -> None:
    before = pi.units()
    commit = pi.push({path: text})
    after = pi.units()
    assert after[name][2] == commit and after[name][0] != before[name][0]
    assert {k: v for k, v in after.items() if k != name} == {
        k: v for k, v in before.items() if k != name
    }


# Builds its wheel, and says so; PEP 517 lets pip ask for it once more to read its metadata.
SLOW_BACKEND = """\
import os, shutil
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with open(os.environ["HOME"] + "/slow-was-built", "a") as file:
        print("again", file=file)
    return os.path.basename(shutil.copy("slow-1.0-py3-none-any.whl", folder))
"""
INDEX = "http://localhost:8123"


def index(machine: Machine) -> None:
    """Serve a package that has to be built, in an index such as PyPI."""
    name, data = wheel("slow", "1.0", {"slow.py": ""})
    system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    metadata = b"Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n"
    files = {"pyproject.toml": system.encode(), "backend.py": SLOW_BACKEND.encode()}
    with io.BytesIO() as out:
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for path, content in {**files, name: data, "PKG-INFO": metadata}.items():
                entry = tarfile.TarInfo(f"slow-1.0/{path}")
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        machine.write("/srv/index/slow/slow-1.0.tar.gz", out.getvalue())
    machine.write("/srv/index/slow/index.html", '<a href="slow-1.0.tar.gz">slow-1.0.tar.gz</a>')
    serve = "python3 -m http.server 8123 --directory /srv/index"
    machine.sh(f"systemd-run --quiet --unit=index {serve}")
    up = f"curl -sf {INDEX}/slow/"
    eventually(lambda: machine.run(up, check=False).returncode == 0, 20, "the index", 0.2)


def test_new_requirements_make_a_new_environment(pi: Pi) -> None:
    """What pip built for another one is neither fetched nor built again."""
    index(pi.machine)
    asked = "journalctl -o cat -u index | grep -c 'GET /slow/slow-1.0.tar.gz'"
    built = "grep -c again /var/cache/piot-mix/build/slow-was-built"
    pi.push({"requirements.txt": f"-i {INDEX}\n-f wheels\n-r more.txt\nslow==1.0\n"})
    times = pi.machine.sh(built)
    assert pi.machine.sh(asked) == "1"
    before = pi.units()
    commit = pi.push({"more.txt": "greeter==2.0\n", **wheels("2.0")})
    python = f"{pi.release(commit)}/.venv/bin/python"
    assert pi.machine.sh(f"{python} -c 'import slow; print(slow.__file__)'")
    assert pi.machine.sh(asked) == "1" and pi.machine.sh(built) == times
    assert pi.ran("py")[-1] == pi.ran("tool")[-1] == [commit, "2.0"]
    after = pi.units()
    # A service cannot tell which programs of the environment it uses: all restart.
    assert all(after[name][0] != before[name][0] for name in SERVICES)
    assert len(pi.machine.sh("ls /var/lib/piot/apps/mix/venvs").split()) == 3
    pi.push({"requirements.txt": FILES["requirements.txt"]})
    pi.machine.sh("systemctl stop index")


def test_a_rollback_brings_the_environment_back(pi: Pi) -> None:
    """The libraries of the release before are imported again, by the process that runs."""
    m, before = pi.machine, pi.units()
    imported = "import greeter; print(greeter.VERSION)"

    def runs_on() -> tuple[str, str]:
        """Return the environment that the service's process runs in, and what it imports there."""
        words = m.sh(f"tr '\\0' '\\n' </proc/{pi.units()['py'][0]}/cmdline").splitlines()
        place = words[0].removesuffix("/bin/python")
        return m.sh(f"readlink -f {place}"), m.sh(f"{words[0]} -c '{imported}'")

    former, version = runs_on()
    assert version == "2.0" and "/venvs/" in former
    broken = 'import time, greeter, sys\nsys.argv = ["", "py"]\ngreeter.main()\nsys.exit(3)\n'
    bad = pi.push({"more.txt": "greeter==3.0\n", "py/main.py": broken, **wheels("3.0")}, ok=False)
    row = pi.status()
    assert (row["step"], row["bad"][0]["commit"], row["bad"][0]["kind"]) == (
        "rolled-back",
        bad,
        "health",
    )
    assert [bad, "3.0"] in pi.ran("py"), "it did run with the new one"
    assert pi.ran("py")[-1] == [before["py"][2], "2.0"]
    assert runs_on() == (former, "2.0")
    assert {name: unit[2] for name, unit in pi.units().items()} == {
        name: unit[2] for name, unit in before.items()
    }
    gone = dict.fromkeys(wheels("3.0"))
    pi.push({"more.txt": "greeter==2.0\n", "py/main.py": FILES["py/main.py"], **gone})
    assert runs_on() == (former, "2.0")


def test_env_of_one_service_restarts_that_one(pi: Pi) -> None:
    before = pi.units()
    pi.push(
        {
            ".piot.yaml": MANIFEST.replace(
                "run: node node/main.js", "run: node node/main.js, env: {A: b}"
            )
        }
    )
    after = pi.units()
    assert [name for name in SERVICES if after[name] != before[name]] == ["node"]


def test_a_job_in_flight_finishes_where_it_began(pi: Pi) -> None:
    m = pi.machine
    began = pi.status()["commit"]
    m.sh("systemctl start --no-block piot-mix-long")
    eventually(
        lambda: m.run("grep -q began /var/lib/piot-mix/ran", check=False).returncode == 0,
        10,
        "it",
        0.2,
    )
    pid = m.sh("systemctl show -P MainPID piot-mix-long")
    for number in range(4):
        last = pi.push({"README": f"long {number}"})
    assert m.sh("systemctl show -P MainPID piot-mix-long") == pid
    assert m.exists(pi.release(began)), "its release waits for it"
    m.sh("touch /var/lib/piot-mix/enough")
    eventually(lambda: pi.ran("ended") == [[began]], 10, "its end", 0.2)
    m.sh("systemctl start piot-mix-long")
    assert pi.ran("ended") == [[began], [last]]


def test_a_failing_build_leaves_what_runs(pi: Pi) -> None:
    before = pi.units()
    bad = pi.push({"x.fail": ""}, ok=False)
    assert pi.units() == before
    row = pi.status()
    assert row["bad"][0]["commit"] == bad, row
    assert "build failed with status 7" in row["bad"][0]["reason"]
    assert "no good: x.fail" in row["bad"][0]["reason"]
    assert not pi.machine.exists(pi.release(bad))
    pi.machine.sh("systemctl start piot-deploy@mix")
    assert (
        pi.machine.sh(f"journalctl -o cat -t mix-build PIOT_COMMIT={bad} | grep -c 'no good'")
        == "1"
    )


def test_a_package_that_does_not_exist(pi: Pi) -> None:
    bad = pi.push({"x.fail": None, "more.txt": "greeter==3.0\n"}, ok=False)
    failure = pi.status()["bad"][0]
    assert failure["commit"] == bad
    assert "No matching distribution found for greeter==3.0" in failure["reason"]
    assert "externally-managed" not in pi.machine.sh("journalctl -o cat -t mix-python")
    assert len(pi.machine.sh("ls /var/lib/piot/apps/mix/venvs").split()) <= 2


def test_a_list_of_requirements_and_a_project(pi: Pi) -> None:
    offline = 'env: {PIP_NO_INDEX: "1", PIP_FIND_LINKS: wheels, GREETING'
    listed = MANIFEST.replace("env: {GREETING", offline)
    listed = listed.replace("python: requirements.txt", "python: [greeter==2.0]")
    commit = pi.push({".piot.yaml": listed})
    assert pi.ran("py")[-1] == pi.ran("tool")[-1] == [commit, "2.0"]
    project = listed.replace("[greeter==2.0]", "pyproject.toml")
    files = {".piot.yaml": project, "pyproject.toml": PROJECT, "backend.py": BACKEND}
    commit = pi.push({**files})
    assert pi.ran("py")[-1] == pi.ran("tool")[-1] == [commit, "2.0"]
    python = f"{pi.release(commit)}/.venv/bin/python"
    assert pi.machine.sh(f"{python} -c 'import mixed; print(mixed.COLOUR)'") == "blue"
    pi.push({".piot.yaml": MANIFEST, "more.txt": "greeter==2.0\n"})


def test_debian_packages_are_there_before_the_build(pi: Pi) -> None:
    m = pi.machine
    aptsource.offer(m, "hello-a", "hello-b")
    more = MANIFEST.replace("apt: [", "apt: [hello-a, hello-b, ")
    more = more.replace("build: ./build.sh", "build: ./build2.sh")
    build = '#!/bin/sh\nset -e\nhello-a\nhello-b\nexec ./build.sh "$@"\n'
    before = m.sh("grep -c ^Start-Date /var/log/apt/history.log || true")
    pi.push({".piot.yaml": more, "build2.sh": build, "more.txt": "greeter==2.0\n"})
    log = m.sh(f"journalctl -o cat -t mix-build PIOT_COMMIT={pi.repo.head()}").splitlines()
    assert {"hello-a runs", "hello-b runs"} < set(log)
    installed = int(before) + 1
    pi.push({"README": "apt"})
    assert int(m.sh("grep -c ^Start-Date /var/log/apt/history.log")) == installed, "once for all"


def test_a_debian_package_that_does_not_exist(pi: Pi) -> None:
    bad = pi.push({".piot.yaml": MANIFEST.replace("apt: [", "apt: [no-such-package, ")}, ok=False)
    failure = pi.status()["bad"][0]
    assert failure["commit"] == bad and failure["deterministic"]
    assert "Unable to locate package no-such-package" in failure["reason"]


def test_a_deploy_that_is_stopped_stops_its_build(pi: Pi) -> None:
    m = pi.machine
    slow = "#!/bin/sh\necho begun\nexec sleep 1000\n"
    bad = pi.repo.commit({".piot.yaml": MANIFEST, "build.sh": slow})
    m.sh("systemctl start --no-block piot-deploy@mix")
    begun = f"journalctl -o cat -t mix-build PIOT_COMMIT={bad}"
    eventually(lambda: m.sh(begun) == "begun", 30, "the build", 0.2)
    status = m.run(["systemctl", "status", "piot-deploy@mix"], check=False).stdout
    assert "build: begun" in status
    m.sh("systemctl stop piot-deploy@mix")
    assert m.sh("pgrep -u piot-mix -f 'sleep 1000' || true") == ""
    assert m.sh("systemctl list-units --all --no-legend 'piot-build@*'") == ""
    commit = pi.push({"build.sh": FILES["build.sh"]})
    assert f"{bad}.partial" not in m.sh("ls /var/lib/piot/apps/mix/releases")
    assert pi.status()["commit"] == commit


def test_rollback_and_reboot_leave_services_where_they_are(pi: Pi) -> None:
    m = pi.machine
    pi.push({"more.txt": "greeter==2.0\n", "README": "r1"})
    pi.push({"README": "r2"})
    before = pi.units()
    m.sh("piot rollback mix")
    assert pi.units() == before
    m.sh("piot retry mix")
    assert pi.units() == before
    texts = "cd /etc/systemd/system; cat piot-mix-*.service"
    files = m.sh(texts)
    m.reboot()
    m.sh("systemctl start piot-deploy@mix")
    assert m.sh(texts) == files
    assert [commit for _, _, commit in pi.units().values()] == [c for _, _, c in before.values()]
    pids = [pid for pid, _, _ in pi.units().values()]
    m.sh("systemctl start piot-deploy@mix")
    assert [pid for pid, _, _ in pi.units().values()] == pids


def test_a_job_waits_for_its_device(pi: Pi) -> None:
    """Nothing fails while it is not there; udev is not needed for it to be noticed."""
    m = pi.machine
    node = "/dev/ttyMIX0"
    job = f"  port: {{run: ./port.sh, once: boot, needs: {{devices: [{node}]}}}}\n"
    memory = MANIFEST.replace("watch: [node]", "watch: [node], memory: 256M")
    script = f"#!/bin/sh\n: <{node} && ./note.sh port\n"
    pi.push({".piot.yaml": memory + job, "port.sh": script})
    warned = "node: memory cannot be held by this kernel" in pi.log()
    assert warned == (not _memory(m))
    assert m.sh("systemctl is-active piot-mix-port.path") == "active"
    assert pi.ran("port") == []
    m.sh(f"mknod {node} c 1 3 && chmod 666 {node}")
    eventually(lambda: len(pi.ran("port")) == 1, 10, "the job of the device", 0.2)
    m.sh("systemctl start piot-mix.target")
    assert m.wait_running() == "running", "no unit failed"
    assert len(pi.ran("port")) == 1, "a device that stays does not start it again"


def _memory(machine: Machine) -> bool:
    """Tell whether the machine's kernel can limit memory."""
    return "memory" in machine.sh("cat /sys/fs/cgroup/cgroup.controllers || true").split()


def test_a_secret_restarts_what_sees_it_where_it_is(pi: Pi) -> None:
    m = pi.machine
    m.sh("printf one | piot secret set KEY")
    seen = MANIFEST.replace("watch: [node]", "watch: [node], secrets: [KEY]")
    pi.push({".piot.yaml": seen})
    pi.push({"README": "secret"})
    before = pi.units()
    m.sh("printf two | piot secret set KEY")
    eventually(lambda: pi.units()["node"][0] not in ("0", before["node"][0]), 30, "a restart", 0.3)
    eventually(lambda: pi.status()["step"] == "committed", 30, "the end of the deploy", 0.3)
    after = pi.units()
    assert [name for name in SERVICES if after[name] != before[name]] == ["node"]
    assert after["node"][2] == before["node"][2], "in the release that it was in"
    pid = after["node"][0]
    assert m.sh(f"cat /proc/{pid}/root/run/credentials/piot-mix-node.service/KEY") == "two"


def test_timers_keep_their_jitter_and_catch_up(pi: Pi) -> None:
    m = pi.machine
    elapse = "systemctl show -P NextElapseUSecRealtime piot-mix-late.timer"
    before = m.sh(elapse)
    assert before and not before.endswith("02:30:00 UTC")
    # Off since before the last time it was due.
    m.sh("touch -d '3 days ago' /var/lib/systemd/timers/stamp-piot-mix-missed.timer")
    m.reboot()
    eventually(lambda: len(pi.ran("missed")) == 1, 30, "the run that was missed", 0.5)
    m.reboot()
    assert m.sh(elapse) == before
    assert len(pi.ran("missed")) == 1
    assert pi.ran("late") == []


def test_an_ejected_app_runs_without_piot(pi: Pi) -> None:
    m = pi.machine
    m.sh("printf s3cret | piot secret set KEY")
    pi.push({".piot.yaml": MANIFEST.replace("services:", "secrets: [KEY]\nservices:")})
    before = pi.units()
    done = m.run(["piot", "eject"], check=False)
    assert done.returncode == 1 and "sudo piot eject --yes" in done.stderr
    m.sh("piot eject mix --yes")
    assert pi.units() == before, "nothing restarts"
    assert m.sh("systemctl show -P NeedDaemonReload 'piot-mix*' | sort -u | xargs") == "no"
    m.run(["apt-get", "-y", "purge", "piot"], timeout=120)
    assert pi.units() == before
    assert m.sh("ls /var/lib/piot") == "apps"
    m.reboot()
    runs = m.sh("systemctl is-active piot-mix-py piot-mix-node piot-mix-sh piot-mix-c || true")
    assert runs.split() == ["active"] * 4
    ticks = len(pi.ran("tick"))
    eventually(lambda: len(pi.ran("tick")) > ticks, 10, "a run of the timer", 0.3)
    m.sh("systemctl start piot-mix-tool")
    pid = m.sh("systemctl show -P MainPID piot-mix-sh")
    assert m.sh(f"cat /proc/{pid}/root/run/credentials/piot-mix-sh.service/KEY") == "s3cret"
    assert m.sh("systemctl list-units --all --no-legend 'piot-*' | grep -v piot-mix || true") == ""
    m.sh("systemctl disable --now piot-mix.target")
    stopped = m.sh("systemctl is-active piot-mix-py piot-mix-tick.timer || true")
    assert stopped.split() == ["inactive"] * 2
