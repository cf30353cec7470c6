"""env_file: what a line says, and that every value can be written down."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from piot_firstboot import dotenv, envfile
from piot_firstboot.errors import ConfigError
from piot_firstboot.yamltext import Mapping, Scalar

ESCAPES = {"\n": "\\n", '"': '\\"', "\\": "\\\\", "\r": "\\r"}
ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("A= b  c\t", "b  c"),
        ("  export A='b'", "b"),
        ("A='b \" $c \\n'", 'b " $c \\n'),
        ('A="b\\n\\t\\"\\\\\\$c $d"', 'b\n\t"\\$c $d'),
        ("A=b#c", "b#c"),
        ('A=it\'s "so"', 'it\'s "so"'),
        ("A=$B ${C} `d` %n", "$B ${C} `d` %n"),
        ("A=a=b", "a=b"),
        ("\ufeffA=1\r\n\r\n# x=y\n", "1"),
    ],
)
def test_a_line(line: str, value: str) -> None:
    assert envfile.parse(line.encode(), "x.env") == (("A", value),)


@given(st.dictionaries(st.from_regex(r"V[A-Z0-9_]{0,8}", fullmatch=True), ANY, max_size=6))
def test_every_value_can_be_written(values: dict[str, str]) -> None:
    """In double quotes any text of a process comes back as it was."""
    lines = [
        f'{name}="{"".join(ESCAPES.get(char, char) for char in value)}"\n'
        for name, value in values.items()
    ]
    assert envfile.parse("".join(lines).encode(), "x.env") == tuple(values.items())


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Bytes give variables, or problems with a line."""
    try:
        envfile.parse(data, "x.env")
    except ConfigError as error:
        assert all(problem.line > 0 for problem in error.problems)


def test_size_is_bounded() -> None:
    with pytest.raises(ConfigError, match="more than 256 KiB"):
        envfile.parse(b"#" * (envfile.MAX_BYTES + 1), "x.env")


def test_a_value_is_never_repeated() -> None:
    """Nobody should keep a secret there; a message does not spread it if somebody does."""
    for line in ("A=hush # x", 'A="hush', 'A="hu"sh', 'A="hush\\q"', "A b=hush"):
        with pytest.raises(ConfigError) as caught:
            envfile.parse(line.encode(), "x.env")
        assert "hush" not in str(caught.value)


@given(st.lists(st.from_regex(r"(export )?[AB][A-C]? ?= ?[ab#'\"\\ $n]{0,8}", fullmatch=True)))
def test_a_file_that_no_reader_takes_otherwise(lines: list[str]) -> None:
    """What is read strictly here is read so by the generous reader of a Procfile's files too."""
    data = "\n".join(lines).encode()
    try:
        strict = envfile.parse(data, "x.env")
    except ConfigError:
        return
    assume(not any(f"${name}" in line for name, _ in strict for line in lines))
    root = dotenv.read("x.env", data).root
    assert isinstance(root, Mapping)
    found = {k.text: v.text for k, v in root.pairs if isinstance(v, Scalar)}
    assert found == dict(strict)
