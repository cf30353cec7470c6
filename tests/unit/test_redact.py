"""Redaction by value."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot.config import parse
from piot_firstboot.redact import redact, secret_values

HASH = "$6$" + "s" * 16 + "$" + "h" * 86


def test_secret_values_follow_the_table() -> None:
    """Hashes and secrets are listed, keys and addresses are not, each once."""
    text = (
        f"[user]\nname = anna\npassword_hash = {HASH}\n[user.bert]\npassword_hash = {HASH}\n"
        "[app]\nrepo = https://h/garden\n[secrets]\nA = hunter2\nB = hunter2\nC = xyz\n"
    )
    assert sorted(secret_values(parse(text.encode()))) == sorted((HASH, "hunter2", "xyz"))
    assert secret_values(parse(b"")) == ()


@pytest.mark.parametrize(
    ("text", "secrets", "shown"),
    [
        ("a hunter2 b", ["hunter2"], "a *** b"),
        ("hunter2hunter2", ["hunter2"], "***"),
        ("hunter2 hunter22", ["hunter2", "hunter22"], "*** ***"),
        ("abcdef", ["abcd", "cdef"], "***"),
        ("aaaaaa aaa", ["aaaa"], "*** aaa"),
        ("the cat", ["cat"], "the cat"),
        ("one\ntwo2 two3", ["one1\ntwo2\n"], "one\n*** two3"),
        ("https://u:p%40ss%2fw@h", ["p@ss/w"], "https://u:***@h"),
        ("q=a+b%26cd", ["a b&cd"], "q=***"),
        ("", ["hunter2"], ""),
        ("nothing", [], "nothing"),
    ],
)
def test_redact(text: str, secrets: list[str], shown: str) -> None:
    """Every spelling of a secret is replaced, and nothing else."""
    assert redact(text, secrets) == shown


@pytest.mark.parametrize("user", ["", "u:", "us:", "usr:"])
def test_base64_at_any_offset(user: str) -> None:
    """Basic authentication shows nothing that decodes to the secret."""
    secret = "hunter2-hunter2"
    header = base64.b64encode(f"{user}{secret}".encode()).decode()
    left = redact(f"Authorization: Basic {header}", [secret]).removeprefix("Authorization: Basic ")
    assert "***" in left
    assert len(left.replace("***", "")) <= 4 + len(base64.b64encode(user.encode()))


_SECRETS = st.text(st.characters(codec="utf-8", exclude_characters="*"), min_size=4).filter(
    lambda text: text.strip() == text and len(text.splitlines()) == 1
)


@given(_SECRETS, st.text(), st.text())
def test_no_spelling_is_left(secret: str, before: str, after: str) -> None:
    """Raw, URL-quoted, JSON-quoted and base64 forms are all gone."""
    data = secret.encode()
    forms = [secret, quote(data, safe=""), quote_plus(data), json.dumps(secret)[1:-1]]
    forms += [base64.b64encode(data).decode().rstrip("=")]
    for form in forms:
        left = redact(f"{before}|{form}|{after}", [secret])
        assert secret not in left
        assert "***" in left
