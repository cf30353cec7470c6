"""Quoting in unit files, read back by a parser written from systemd.syntax(7) alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot.command import Variable
from piot_firstboot.render.app_exec import line
from piot_firstboot.unitfile import UnitFile, assignment, quote, specifiers

# What an argv or a variable can hold: anything but NUL, in UTF-8.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
NASTY = st.text(st.sampled_from("ab $%\\\"'{};#\n\t\r\x01\x7f\xa0é-@:+!~|="), max_size=12)
ANY = st.one_of(TEXT, NASTY)
_ESCAPE = re.compile(r'\\(?:x([0-9a-f]{2})|([ntrabfvs"\'\\]))')
_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "s": " "}


def unquote(text: str) -> list[str]:
    """Split at blanks and take quotes and C escapes away: systemd.syntax(7), QUOTING."""
    assert "\n" not in text and "\r" not in text and not text.endswith("\\")
    words, rest = [], text
    while rest := rest.lstrip(" \t"):
        word, mark = "", ""
        while rest and (mark or rest[0] not in " \t"):
            escape = _ESCAPE.match(rest)
            if escape:
                code = escape[1]
                word += chr(int(code, 16)) if code else _NAMED.get(escape[2], escape[2])
                rest = rest[escape.end() :]
                continue
            assert rest[0] != "\\", "a lone backslash"
            if mark and rest[0] == mark:
                mark = ""
            elif not mark and rest[0] in "\"'":
                mark = rest[0]
            else:
                word += rest[0]
            rest = rest[1:]
        assert not mark, "an open quote"
        words.append(word)
    return words


def unspecify(text: str) -> str:
    """Expand the only specifier that may be left."""
    assert not re.search("%[^%]", text.replace("%%", ""))
    return text.replace("%%", "%")


def expand(words: list[str], env: dict[str, str]) -> list[str]:
    """Replace variables as systemd.service(5), COMMAND LINES, says; a bare $NAME must not occur."""
    known = re.compile(r"\$(?:(\$)|\{([A-Za-z_][A-Za-z0-9_]*)\})")

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] else env.get(match[2], "")

    for word in words:
        assert "$" not in known.sub("", word)
    return [known.sub(value, unspecify(word)) for word in words]


@given(st.lists(ANY, min_size=1, max_size=5))
def test_argv_round_trip(words: list[str]) -> None:
    """Every argv reaches the program byte for byte."""
    assert expand(unquote(" ".join(map(quote, words))), {"HOME": "wrong"}) == words
    assert expand(unquote(line(words)), {"HOME": "wrong"}) == words


@given(st.lists(st.one_of(ANY, st.just(Variable("X"))), max_size=4), ANY)
def test_variables_round_trip(pieces: list[str | Variable], value: str) -> None:
    """A variable is replaced within its word, whatever is in it; all else stays."""
    word = "".join(p if isinstance(p, str) else value for p in pieces)
    assert expand(unquote(line(["/bin/x", tuple(pieces)])), {"X": value}) == ["/bin/x", word]


@given(ANY)
def test_assignment_round_trip(value: str) -> None:
    """Every value of Environment= is what the program sees."""
    (word,) = unquote(assignment("NAME", value))
    assert unspecify(word) == f"NAME={value}"


@pytest.mark.parametrize(
    ("word", "quoted"),
    [
        ("plain-word_1.2/3", "plain-word_1.2/3"),
        ("-x", "-x"),
        ("", '""'),
        (";", '";"'),
        ("a b", '"a b"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('say "hi"', '"say \\"hi\\""'),
        ("C:\\x", '"C:\\\\x"'),
        ("one\ntwo", '"one\\ntwo"'),
        ("it's", '"it\'s"'),
        ("\x7f", '"\\x7f"'),
        ("żółć", '"żółć"'),
    ],
)
def test_quote(word: str, quoted: str) -> None:
    """Words are spelled as a person would, quotes only where they are needed."""
    assert quote(word) == quoted


def test_specifiers() -> None:
    """Values that are not split only need their percent signs doubled."""
    assert specifiers("50% of $HOME") == "50%% of $HOME"


def test_unit_file() -> None:
    """Sections and keys keep their order, a repeated key is a further line."""
    file = UnitFile("x.service", "one\ntwo")
    file.add("Unit", "Description", "X")
    file.extend("Service", [("Environment", "A=1"), ("Environment", "B=2")])
    file.add("Unit", "After", "y.service")
    assert file.get("Service", "Environment") == ["A=1", "B=2"]
    assert file.text() == (
        "# one\n# two\n[Unit]\nDescription=X\nAfter=y.service\n\n"
        "[Service]\nEnvironment=A=1\nEnvironment=B=2\n"
    )
    with pytest.raises(ValueError, match="one line"):
        file.add("Service", "User", "x\nUser=root")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
def test_systemd_reads_what_is_quoted(tmp_path: Path) -> None:
    """systemd takes the nastiest words without a warning."""
    file = UnitFile("nasty.service")
    nasty = ["/usr/bin/true", *(chr(c) * 2 for c in range(1, 256)), "${X", "%i", "\\x", ";", "🌱"]
    file.add("Service", "ExecStart", line(nasty))
    for number, word in enumerate(nasty):
        file.add("Service", "Environment", assignment(f"V{number}", word))
    path = tmp_path / file.name
    path.write_text(file.text())
    words = ("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(path))
    result = subprocess.run(words, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
