"""Rendering rules that the literal cases do not show: attempts, notes, rollback, exactness."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from piot_firstboot.errors import ConfigError
from piot_firstboot.items import File, Item, Unit
from piot_firstboot.manifest import Job, parse
from piot_firstboot.render import app_exec
from piot_firstboot.render.app_units import Release, render_app
from tests.unit.test_unitfile import expand, unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def release(app: str = "app", systemd: int = 257) -> Release:
    """Make a release on which every program is found."""
    return Release(
        app=app,
        commit=COMMIT,
        path=f"/var/lib/piot/apps/{app}/releases/{COMMIT}",
        hostname="pi",
        role="gateway",
        systemd=systemd,
        resolve=lambda word, directory: f"/usr/bin/{word}",
    )


def unit(items: tuple[Item, ...], name: str) -> str:
    """Return the text of one unit file."""
    path = f"/etc/systemd/system/{name}"
    (found,) = (i.content.decode() for i in items if isinstance(i, File) and i.path == path)
    return found


def lines(text: str, key: str) -> list[str]:
    """Return the values of a key in a unit file."""
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def test_argv_and_environment_arrive_exactly() -> None:
    """The nastiest words of a manifest are what the program gets."""
    words = [
        "run",
        "$HOME",
        "${X}",
        "100%",
        "a b",
        'q"q',
        "it's",
        "\\n",
        "",
        ";",
        "two\nlines",
        "🌱",
    ]
    listed = ", ".join("'" + w.replace("'", "''") + "'" for w in words if "\n" not in w)
    run, env_line = f'[{listed}, "two\\nlines"]', '{A: "%i $B\\n\\""}'
    text = f"piot: 1\nservices:\n  web: {{run: {run}, env: {env_line}}}\n"
    web = unit(render_app(parse(text.encode()), release()), "piot-app-web.service")
    (command,) = lines(web, "ExecStart")
    expected = [w for w in words if "\n" not in w] + ["two\nlines"]
    assert expand(unquote(command), {}) == ["/usr/bin/run", *expected[1:]]
    env = [unquote(line)[0].replace("%%", "%") for line in lines(web, "Environment")]
    assert 'A=%i $B\n"' in env
    assert {"PIOT_APP=app", f"PIOT_COMMIT={COMMIT}", "PIOT_ROLE=gateway"} < set(env)
    assert {"PIOT_HOSTNAME=pi", "PIOT_UNIT=web"} < set(env)
    assert lines(web, "LogExtraFields") == ["PIOT_APP=app", f"PIOT_COMMIT={COMMIT}"]


def test_a_unit_never_names_a_current_link() -> None:
    """Every path of an app's unit is that of its commit."""
    items = render_app(parse(b"piot: 1\nservices: {web: {run: x, dir: a}}\n"), release())
    for item in items:
        if isinstance(item, File):
            assert "current" not in item.content.decode()
    web = unit(items, "piot-app-web.service")
    assert lines(web, "WorkingDirectory") == [f"/var/lib/piot/apps/app/releases/{COMMIT}/a"]


def test_a_rollback_does_not_run_commit_jobs() -> None:
    """The jobs of a commit are written, but not started again."""
    manifest = parse(b"piot: 1\njobs: {m: {run: x, once: commit}}\n")
    forward = render_app(manifest, release())
    back = render_app(manifest, release(), run_commit_jobs=False)
    assert [i for i in forward if not isinstance(i, Unit)] == [
        i for i in back if not isinstance(i, Unit)
    ]
    starts = [{i.name: i.on_change for i in x if isinstance(i, Unit)} for x in (forward, back)]
    assert starts[0]["piot-app-m.service"] == "start"
    assert starts[1]["piot-app-m.service"] == ""


def test_every_missing_program_is_told() -> None:
    """All programs that are not found are problems at the line of their unit."""
    text = b"piot: 1\nservices:\n  a: {run: x}\n  b: {run: y, health: {command: z}}\n"

    def resolve(word: str, directory: str) -> str:
        raise LookupError(f"no {word}")

    lost = Release(app="a", commit=COMMIT, path="/r", hostname="pi", resolve=resolve)
    with pytest.raises(ConfigError) as caught:
        render_app(parse(text), lost, source="other.yaml")
    assert [str(p) for p in caught.value.problems] == [
        "other.yaml:3:1: a: no x",
        "other.yaml:4:1: b: no y",
        "other.yaml:4:1: b: no z",
    ]


def test_first_run_differs_between_devices_only_with_jitter() -> None:
    """The first run moves by less than the jitter, stable per device; the interval stays."""
    text = "piot: 1\njobs: {j: {run: x, every: 1h, jitter: %s}}\n"

    def first(jitter: str, host: str) -> str:
        device = Release(
            app="a", commit=COMMIT, path="/r", hostname=host, resolve=lambda word, directory: "/x"
        )
        timer = unit(render_app(parse((text % jitter).encode()), device), "piot-a-j.timer")
        assert lines(timer, "OnUnitActiveSec") == ["1h"]
        assert not lines(timer, "RandomizedDelaySec")
        return lines(timer, "OnActiveSec")[0]

    hosts = [f"pi{n}" for n in range(50)]
    assert {first("0", host) for host in hosts} == {"5s"}
    assert len({first("10min", host) for host in hosts}) > 30
    assert first("10min", "pi") == first("10min", "pi")


def retry_job(times: int, wait: float) -> Job:
    """Make a job that is tried again."""
    retry = f"{{times: {times}, wait: {wait}}}"
    text = f"piot: 1\njobs: {{j: {{run: x, every: 1h, timeout: 1s, retry: {retry}}}}}\n"
    (job,) = parse(text.encode()).jobs
    return job


def attempt(job: Job, tmp_path: Path, script: str) -> tuple[int, list[str], float, str]:
    """Run a job's rendered command as systemd would; return status, attempts, seconds, log."""
    program = tmp_path / "program"
    program.write_text(
        f'#!/bin/sh\nprintf "%s|" "$@" >> {tmp_path}/log; echo >> {tmp_path}/log\n{script}\n'
    )
    program.chmod(0o755)
    words = app_exec.retried(job, (str(program), ("$HOME",), ("a b",), (), ("*",)))
    argv = expand(unquote(app_exec.line(words)), {})
    began = time.monotonic()
    result = subprocess.run(argv, capture_output=True, text=True, timeout=30, cwd=tmp_path)
    log = (tmp_path / "log").read_text().splitlines()
    return result.returncode, log, time.monotonic() - began, result.stderr


def test_retry_until_success(tmp_path: Path) -> None:
    """A job that works at the third attempt works, with the same words each time."""
    job = retry_job(5, 0)
    script = f'[ "$(wc -l < {tmp_path}/log)" -ge 3 ]'
    status, log, _, said = attempt(job, tmp_path, script)
    assert (status, log) == (0, ["$HOME|a b||*|"] * 3)
    assert said.splitlines() == [
        "<4>attempt 1 of 6 failed with status 1, next in 0 s",
        "<4>attempt 2 of 6 failed with status 1, next in 0 s",
    ]


def test_retry_gives_up_with_the_last_status(tmp_path: Path) -> None:
    """After the last attempt the job fails as its program did."""
    status, log, _, said = attempt(retry_job(2, 0.1), tmp_path, "exit 7")
    assert (status, len(log)) == (7, 3)
    assert len(said.splitlines()) == 2


def test_retry_bounds_each_attempt(tmp_path: Path) -> None:
    """An attempt that hangs is ended after the job's timeout, and the next one begins."""
    job = retry_job(1, 0)
    status, log, seconds, _ = attempt(job, tmp_path, "exec sleep 20")
    assert (status, len(log)) == (124, 2)
    assert seconds < 10
    assert seconds < app_exec.longest(job)


def test_thousand_units_render_quickly() -> None:
    """Rendering stays a matter of milliseconds per unit."""
    rows = "".join(f"  s{n}: {{run: ./web --port {n}, env: {{A: b}}}}\n" for n in range(1000))
    data = f"piot: 1\nservices:\n{rows}".encode()
    began = time.process_time()
    items = render_app(parse(data), release())
    assert time.process_time() - began < 2
    assert sum(isinstance(item, File) for item in items) == 1002
