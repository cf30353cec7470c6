"""The laptop's verbs on a computer that has nothing of Linux and no program to call."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]

# Takes away what macOS or Windows lack, then runs the verbs of a list, one after the other. What
# the standard library itself needs to start has been loaded before.
PRELUDE = """\
import argparse, contextlib, io, json, os, pathlib, re, select, signal, sys, time, tomllib, zoneinfo
import datetime, difflib, _strptime, yaml, base64, hashlib, ipaddress, urllib.parse, tempfile
import configparser, unicodedata, uuid, encodings.idna

platform, verbs, checkout = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
LACKING = (
    "fcntl pwd grp spwd crypt nis termios tty pty resource syslog posix_spawn curses readline "
    "subprocess _posixsubprocess multiprocessing systemd sdnotify requests dbus gi"
).split()

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LACKING:
            raise ModuleNotFoundError(f"{name} is not on this computer", name=name)

for name in [n for n in sys.modules if n.partition(".")[0] in LACKING]:
    del sys.modules[name]
sys.meta_path.insert(0, Nothing())
for lacking in (
    "geteuid getuid getgid getegid getgroups setuid setgid fork forkpty posix_spawn posix_spawnp "
    "execv execve system popen chown fchown lchown fchmod sync statvfs getpgid setsid killpg "
    "wait4 waitpid getpriority setpriority sched_getaffinity mkfifo mknod chroot getxattr uname "
    "O_NOFOLLOW O_DIRECTORY O_CLOEXEC O_PATH WNOHANG P_NOWAIT get_blocking pipe2 memfd_create"
).split():
    with contextlib.suppress(AttributeError):
        delattr(os, lacking)
for lacking in "poll epoll kqueue EPOLLIN POLLIN".split():
    with contextlib.suppress(AttributeError):
        delattr(select, lacking)
for lacking in "SIGKILL SIGHUP SIGUSR1 SIGCHLD SIGALRM SIGPIPE alarm pthread_sigmask".split():
    with contextlib.suppress(AttributeError):
        delattr(signal, lacking)
del time.tzset
sys.platform = platform
sys.path.insert(0, checkout)

from piot_firstboot.cli import main

results = []
for argv in verbs:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(argv)
        except SystemExit as ended:
            code = ended.code
    results.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""


def run(platform: str, *verbs: list[str], cwd: Path) -> list[tuple[int, str, str]]:
    """Run verbs in one fresh interpreter without all that."""
    argv = [sys.executable, "-c", PRELUDE, platform, json.dumps(verbs), str(CHECKOUT)]
    env = {"PATH": "", "TZ": "Europe/Berlin", "PYTHONPYCACHEPREFIX": "/nonexistent"}
    env["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run(argv, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [(code, out, err) for code, out, err in json.loads(done.stdout)]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """Make the small repository of a person who has never heard of PioT."""
    folder = tmp_path / "My Garden"
    folder.mkdir()
    (folder / "requirements.txt").write_bytes(b"flask\r\n")
    (folder / "app.py").write_bytes(b"from flask import Flask\r\napp = Flask(__name__)\r\n")
    return folder


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_every_verb_for_a_laptop_works_there(platform: str, app: Path) -> None:
    """init, check in all forms, render for both releases, plan against a tree, import."""
    (app / "user-data").write_text("#cloud-config\nhostname: garden\n")
    results = run(
        platform,
        ["init"],
        ["check"],
        ["check", "--format", "sarif"],
        ["render"],
        ["render", "--release", "bookworm", "--out", "units"],
        ["render", "--json", "--timezone", "Asia/Tokyo"],
        ["plan", ".", "--root", "tree"],
        ["import", "user-data", "-o", "piot.conf"],
        ["check", "piot.conf"],
        ["init"],
        ["plan", ".", "--host", "garden"],
        ["render", "--timezone", "Europe/Berlim"],
        ["--help"],
        cwd=app,
    )
    assert [code for code, _, _ in results] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0], results
    said = [out for _, out, _ in results]
    assert "app.py: a Flask app" in said[0] and (app / ".piot.yaml").is_file()
    assert said[1] == "no problems\n"
    assert json.loads(said[2])["runs"][0]["results"] == []
    assert "/releases/COMMIT/.venv/bin/flask " in said[3]
    assert (app / "units/piot-my-garden-web.service").read_text().startswith("# Made by PioT")
    assert json.loads(said[5])["app"] == "my-garden"
    assert "create piot-my-garden-web.service" in said[6]
    assert "is there already" in results[9][2]
    assert "does not answer to ssh" in results[10][2]
    assert "no time zone Europe/Berlim" in results[11][2]


def test_times_are_reckoned_without_systemd(tmp_path: Path) -> None:
    """What systemd-analyze says on Linux is said without it too."""
    (tmp_path / ".piot.yaml").write_text(
        "piot: 1\nname: x\njobs:\n"
        "  a: {run: 'true', at: ['*:0/7', 'Mon 02:30']}\n"
        "  b: {run: 'true', at: '0 0 29 2 *'}\n"
    )
    argv = ["render", str(tmp_path), "--json", "--timezone", "America/New_York"]
    ((code, said, _),) = run("darwin", argv, cwd=tmp_path)
    assert code == 0
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    here = [sys.executable, "-m", "piot_firstboot", *argv]
    told = subprocess.run(here, capture_output=True, text=True, check=True, env=env).stdout
    ours, systemds = (json.loads(text)["timers"] for text in (said, told))
    assert ours == systemds
    assert all(len(timer["next"]) == 5 for timer in ours)


def test_units_are_written_where_they_changed(tmp_path: Path) -> None:
    """A second time into the same directory, a unit that is the same is not written again."""
    text = "piot: 1\nname: x\njobs:\n  a: {run: 'true', every: 1h}\n  b: {run: 'true', at: daily}\n"
    (tmp_path / ".piot.yaml").write_text(text)
    argv = ["render", str(tmp_path), "--out", str(tmp_path / "units")]
    told = run("linux", argv, cwd=tmp_path)
    before = {path.name: path.stat() for path in (tmp_path / "units").iterdir()}
    assert told == [(0, f"6 units for trixie written to {tmp_path / 'units'}\n", "")]
    assert len(before) == 6
    (tmp_path / ".piot.yaml").write_text(text.replace("daily", "weekly"))
    assert run("linux", argv, cwd=tmp_path) == told
    after = {path.name: path.stat() for path in (tmp_path / "units").iterdir()}
    changed = {name for name in before if before[name].st_ino != after[name].st_ino}
    assert changed == {"piot-x-b.timer"} and before.keys() == after.keys()


def test_files_that_windows_wrote(app: Path) -> None:
    """A byte order mark and CRLF are no mistakes; a mistake has its place all the same."""
    manifest = b"\xef\xbb\xbfpiot: 1\r\nservices:\r\n  web: {rnu: python app.py}\r\n"
    (app / ".piot.yaml").write_bytes(manifest)
    (app / "piot.conf").write_bytes(b"\xef\xbb\xbf[device]\r\nhostname = garden\r\n")
    ((code, said, _),) = run("win32", ["check"], cwd=app)
    assert code == 1
    assert ".piot.yaml:3:9: unknown key" in said and "did you mean run?" in said
    assert "    " + "  web: {rnu: python app.py}\n" in said and "piot.conf:" not in said


@pytest.mark.slow
def test_it_installs_from_pip(tmp_path: Path) -> None:
    """A wheel for any system: it asks for nothing that only Linux has, and brings the command."""
    source = tmp_path / "source"
    kept = ("piot_firstboot", "setup.py", "pyproject.toml", "README.md", "LICENSE", "bin")
    for name in kept:
        place = CHECKOUT / name
        if place.is_dir():
            shutil.copytree(place, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(place, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    wheels = tmp_path / "wheels"
    build = ["wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source)]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    (wheel,) = wheels.glob("piot-*-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        metadata = file.read(next(n for n in names if n.endswith("METADATA"))).decode()
    needs = [line[15:] for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
    assert [need.lower().replace(" ", "") for need in needs] == [
        "pyyaml",
        'tzdata;sys_platform=="win32"',
    ]
    assert all(name.startswith(("piot_firstboot/", "piot-")) for name in names)
    venv = tmp_path / "venv"
    make = [sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", str(venv)]
    subprocess.run(make, check=True)
    python, piot = venv / "bin/python", venv / "bin/piot"
    into = ["--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *into], check=True, capture_output=True)
    (tmp_path / ".piot.yaml").write_text("piot: 1\njobs: {a: {run: 'true', every: 1h}}\n")
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    for command in ([str(piot)], [str(python), "-m", "piot_firstboot"]):
        done = subprocess.run(
            [*command, "check"], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        )
        assert done.stdout == "no problems\n"
