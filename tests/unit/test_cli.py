"""The command line: help that teaches, exit codes, and a completion that knows every option."""

from __future__ import annotations

import json
import re
import subprocess
from argparse import ArgumentParser, _SubParsersAction
from pathlib import Path

import pytest

from piot_firstboot import cli
from piot_firstboot.arguments import parser

CHECKOUT = Path(__file__).parents[2]


def verbs() -> dict[str, ArgumentParser]:
    """Return the parser of each verb."""
    (action,) = (a for a in parser()._actions if isinstance(a, _SubParsersAction))
    return dict(action.choices)


def complete(*words: str) -> list[str]:
    """Ask bash what it would offer for the last of the words."""
    script = (
        'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _piot; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    argv = ["bash", "-c", script, "-", str(CHECKOUT / "completion/piot"), "piot", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("verb", verbs())
def test_help_ends_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([verb, "--help"])
    assert ended.value.code == 0
    last = capsys.readouterr().out.strip().splitlines()[-1]
    assert last.startswith("example: ") and verb in last


def test_completion_offers_every_verb_and_option() -> None:
    assert set(verbs()) < set(complete(""))
    for verb, tree in verbs().items():
        known = {o for a in tree._actions for o in a.option_strings if o.startswith("--")}
        assert set(complete(verb, "-")) == known, verb


@pytest.mark.parametrize("verb", verbs())
def test_the_manual_names_every_verb(verb: str) -> None:
    manual = (CHECKOUT / "docs/piot.1").read_text()
    assert re.search(rf"^\.BR? {verb}\b", manual, re.MULTILINE)


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["aply"])
    assert ended.value.code == 2
    assert "invalid choice: 'aply'" in capsys.readouterr().err


def test_check_shows_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    conf, manifest = tmp_path / "piot.conf", tmp_path / ".piot.yaml"
    conf.write_text("[devise]\nhostname = a b\n")
    manifest.write_text("piot: 1\nservices: {web: {rnu: x}}\n")
    assert cli.main(["check", str(conf), str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert f"{conf}:1:" in said and f"{manifest}:2:" in said and "did you mean" in said
    assert cli.main(["check", "--json", str(conf), str(tmp_path)]) == 1
    rows = json.loads(capsys.readouterr().out)["problems"]
    assert {row["source"] for row in rows} == {str(conf), str(manifest)}


def test_check_warns_of_what_has_no_effect(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    conf = tmp_path / "piot.conf"
    conf.write_text("[health]\nping_url = https://hc.example.org/s3cr3t\n")
    assert cli.main(["check", str(conf)]) == 0
    said = capsys.readouterr().out
    assert f"{conf}:2:1: warning: this version does nothing with ping_url yet" in said
    assert "s3cr3t" not in said


def test_check_is_content_with_the_examples(capsys: pytest.CaptureFixture[str]) -> None:
    examples = CHECKOUT / "examples"
    assert cli.main(["check", str(examples / "piot.conf"), str(examples / "garden")]) == 0
    assert capsys.readouterr().out == "no problems\n"


def test_check_of_what_is_neither(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").touch()
    gone = str(tmp_path / "piot.conf")
    assert cli.main(["check", str(tmp_path / "notes.txt"), gone]) == 1
    said = capsys.readouterr().out
    assert "neither a piot.conf nor a .yaml file" in said and "No such file" in said
    assert cli.main(["check", str(tmp_path / "nothing")]) == 1
    assert "nothing: No such file or directory" in capsys.readouterr().out


@pytest.mark.parametrize("suite", ["bookworm", "trixie"])
def test_render_shows_the_units(suite: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["render", str(CHECKOUT / "examples/garden"), "--release", suite]) == 0
    said = capsys.readouterr().out
    assert "### /etc/systemd/system/piot-garden-web.service" in said
    assert "/var/lib/piot/apps/garden/releases/COMMIT/measure.sh" in said
    assert ("\nRestartSteps=" in said) == (suite == "trixie")


def test_render_without_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["render", str(tmp_path)]) == 1
    assert ".piot.yaml: No such file" in capsys.readouterr().err
