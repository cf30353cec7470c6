"""Reading and judging piot.conf: what the literal cases do not say."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from piot_firstboot import conftext
from piot_firstboot.config import Config, parse
from piot_firstboot.errors import ConfigError
from piot_firstboot.settings import SECTIONS, SETTINGS
from piot_firstboot.sshkey import authorized_key

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIN37PX93Wq9BkAzh/habblgwdFoT1UyFbp2B+zuWRZv6 anna@laptop"


def errors(data: bytes | str) -> ConfigError:
    """Parse what must be refused."""
    with pytest.raises(ConfigError) as caught:
        parse(data.encode() if isinstance(data, str) else data)
    return caught.value


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be-bom"])
def test_every_encoding_says_the_same(encoding: str, end: str) -> None:
    """One text, whatever editor wrote it."""
    text = f"[device]{end}hostname = pi{end}{end}[secrets]{end}A = ż🌱 x{end}B = 1"
    if encoding == "utf-16-be-bom":
        data = b"\xfe\xff" + text.encode("utf-16-be")
    else:
        data = text.encode(encoding)
    config = parse(data)
    assert config.device.hostname == "pi"
    assert config.secrets == (("A", "ż🌱 x"), ("B", "1"))


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("x", "x"),
        ('" x "', " x "),
        ("' x '", " x "),
        ('"x', '"x'),
        ("x'", "x'"),
        ('"', '"'),
        ('""x""', '"x"'),
        ("\"x'", "\"x'"),
        ("a\\n%(b)s", "a\\n%(b)s"),
        ("=", "="),
        ("a # b ; c", "a # b ; c"),
        ("# b", "# b"),
        ("\u00a0x\u00a0", "x"),
        ("a\u00a0b", "a\u00a0b"),
    ],
)
def test_values_are_raw_text(raw: str, value: str) -> None:
    """Outer blanks and one pair of quotes go; all else stays."""
    assert parse(f"[secrets]\nA ={raw}".encode()).secrets == (("A", value),)


def test_zones_are_held_against_the_device() -> None:
    """Without a list any name is taken; with one it must be in it."""
    data = b"[device]\ntimezone = Europe/Berlni\n"
    assert parse(data).device.timezone == "Europe/Berlni"
    with pytest.raises(ConfigError) as caught:
        parse(data, known={"zones": ("Europe/Berlin", "UTC")})
    assert caught.value.problems[0].hint == "did you mean Europe/Berlin?"


def test_problems_point_at_their_place() -> None:
    """Line, column and width mark the value, also behind tabs and quotes."""
    problem = errors('[device]\n\thostname =\t"my pi"\n').problems[0]
    assert (problem.line, problem.column, problem.width) == (2, 14, 5)
    assert problem.text == '\thostname =\t"my pi"'


def test_problems_are_bounded() -> None:
    """Of very many problems the first hundred are told, and how many more there are."""
    caught = errors("x\n" * 5000)
    assert len(caught.problems) == 101
    assert caught.problems[-1].message == "and 4900 more problems"
    assert [p.line for p in caught.problems] == sorted(p.line for p in caught.problems)


def test_a_long_line_is_cut() -> None:
    """A line of 60 KB does not fill the report."""
    assert len(str(errors("[device]\nhostname = " + "a" * 60000))) < 1000


def test_line_numbers_are_kept() -> None:
    """Accounts and apps know where they stand."""
    text = f"\n[user]\nname = anna\nauthorized_key = {KEY}\n\n[app]\nrepo = /x\n"
    config = parse(text.encode())
    assert config.accounts[0].line == 2
    assert config.apps[0].line == 6


def test_a_refused_key_is_no_second_complaint() -> None:
    """The lock-out guard is silent where the way in is just mistyped."""
    assert len(errors("[user]\nname = anna\nauthorized_key = ~/x.pub\n").problems) == 1
    assert len(errors("[user]\nname = anna\npasword_hash = x\n").problems) == 1


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_real_keys(kind: str, tmp_path: Path) -> None:
    """What ssh-keygen makes is accepted, and every truncation of it is not."""
    file = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", file], check=True)
    public = (tmp_path / "id.pub").read_text().strip()
    assert authorized_key(public) == public
    word = public.split()[1]
    for cut in range(1, len(word), 7):
        with pytest.raises(ValueError):
            authorized_key(f"{public.split()[0]} {word[:-cut]}")
    private = file.read_text()
    text = str(errors(f"[user]\nname = anna\nauthorized_key = {private}"))
    assert "private key" in text
    assert not any(line in text for line in private.splitlines()[1:-1])


def test_made_hashes(tmp_path: Path) -> None:
    """What openssl makes is accepted."""
    for method in ("-6", "-5"):
        argv = ["openssl", "passwd", method, "hunter2"]
        made = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
        parse(f"[user]\nname = anna\npassword_hash = {made}\n".encode())


# -- any bytes --------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        *(f"[{part.name}]" for part in SECTIONS),
        *(f"[{part.name}.x]" for part in SECTIONS),
        *(f"{row.key} = {row.example}" for row in SETTINGS),
        *(f"{row.key} =" for row in SETTINGS),
        "[", "]", "=", '"', "#", " ", "\t", "\u00a0", "\ufeff", "\ud7ff",
        "-----BEGIN PRIVATE KEY-----", "-----END", "https://a:b@c/d", "\n", "\r", "\r\n", "\n",
        "\x0b", "\u2028", "\x00",
    ]
)  # fmt: skip
_TEXTS = st.lists(_WORDS | st.text(max_size=8), max_size=40).map(lambda words: "".join(words))
CONFS = _TEXTS.map(lambda text: text.encode("utf-8", "replace"))


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | CONFS)
@example(b"\xff\xfe\x00")
@example(b"\xfe\xff\xd8\x00")
@example(b"[device]\nhostname=\xed\xa0\x80")
@example(b"=" * 60000)
@example(b"[" * 60000)
@example(b"[x" * 20000)
@example(b"authorized_key = " + b"a," * 20000)
@example(b"[user]\nauthorized_key = " + b"a," * 20000)
@example(b'[user]\nauthorized_key = a="' + b"\\" * 60000)
@example(b"[device]\nhostname = " + b"{" * 60000)
@example(b"[device]\nhostname = " + b"a." * 30000)
@example(b"[app]\nrepo = " + b"a@" * 30000)
@example(b"[app]\nrepo = https://" + b"a:" * 30000)
@example(b"[app]\nrepo = " + b"a." * 30000)
@example(b"[app]\npoll = " + b"1s" * 30000)
@example(b"[a%d]\n" * 8000)
@example(b"[secrets]\n" + b"a-b = c\n" * 8000)
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a Config or a list of problems that can be shown, and soon."""
    start = time.monotonic()
    try:
        assert isinstance(parse(data), Config)
    except ConfigError as error:
        assert error.problems
        str(error).encode()
        for problem in error.problems:
            assert problem.message and problem.line >= 0 and problem.width >= 1
            assert problem.line == 0 or problem.column >= 1
    assert time.monotonic() - start < 2


_TOKEN = "Zq8vWk3xJt"
_SECRET_LINES = st.sampled_from(
    [
        "[user]\nname = anna\npassword_hash = {}",
        "[user]\npasswordhash = {}",
        "[user]\npassword_hash: {}",
        "[user]\nname = anna\npassword_hash = !\npassword_hash = {}",
        "[usr]\npassword_hash = {}",
        "[device]\npassword_hash = {}",
        "password_hash = {}",
        "[secrets]\nA = b\nA = {}",
        "[secrets]\nA = {}\n[secrets]\nB = {}",
        "[secrets]\nbad-name = {}",
        "[secrets]\nA {}",
        "[secrets]\nA = x\n{}",
        "[secrets] A = {}",
        "[secret] A = {}",
        "[app]\nrepo = https://anna:{}@h/p",
        "[app]\nrepo = https://{}@h/p",
        "[app]\nrepo = /x\nrepo = https://anna:{}@h/p",
        "[app]\nrepo = https://anna:{}@h/p\nrepo = https://anna:{}@h/p",
        "[app]\ntoken = {}",
        "[wifi]\npassword = {}",
        "[secrets]\nA = {}\x07",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    _SECRET_LINES,
    st.text("\t !#$%&'()*+,-./:;<=>?@[]^_`{|}~é\u00a0\u200b\x07", max_size=6),
    st.text("\t !#$%&'()*+,-./:;<>?@[]^_`{|}~é\u00a0\u200b\x07", max_size=6),
    st.booleans(),
)
def test_no_secret_is_shown(lines: str, before: str, after: str, latin1: bool) -> None:
    """A secret is in no problem, nor a part of it, whatever is wrong around it."""
    secret = f"{_TOKEN}{after}"
    if "://" not in lines and "{}" not in lines.splitlines()[-1][:2]:
        secret = before + secret
    text = lines.replace("{}", secret) + "\n[device]\nhostname = _\n"
    data = text.encode("latin-1", "replace") if latin1 else text.encode()
    error = errors(data)
    assert _TOKEN not in str(error)
    assert _TOKEN not in repr(error)


def test_nothing_secret_in_repr() -> None:
    """A Config can be printed; so can what the reader makes of the text."""
    hashed = "$6$" + "s" * 16 + "$" + "h" * 86
    data = f"[user]\nname = anna\npassword_hash = {hashed}\n[secrets]\nA = hunter2\n".encode()
    config = parse(data)
    shown = repr(config) + repr(conftext.read(data)[1])
    assert "hunter2" not in shown and "hhh" not in shown
