"""Keys and names as the programs read them that they are for: sshd's own parser, systemd's."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piot_firstboot.config import parse
from piot_firstboot.errors import ConfigError
from piot_firstboot.facts import Facts
from piot_firstboot.items import File, Lines
from piot_firstboot.render import render_config
from tests.unit.test_keyfile import SHOWN

KINDS = ("ed25519", "rsa", "ecdsa")
# What may stand in quotes within an option: any text, a quote with a backslash before it.
VALUES = st.text(SHOWN.filter(lambda c: c not in '"\\')).map(lambda text: f'{text}\\"{text}')
OPTIONS = st.lists(
    st.sampled_from(["restrict", "no-pty", "agent-forwarding", 'from="10.0.0.0/8,*.example.org"'])
    | VALUES.map('command="{}"'.format)
    | st.just('environment="A=b c"'),
    max_size=4,
    unique_by=lambda option: option.partition("=")[0],
)
COMMENTS = st.text(SHOWN | st.just(" "), max_size=40).map(str.strip)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[tuple[str, str]]]:
    """Make one key of each kind: type with key, and fingerprint."""
    folder = tmp_path_factory.mktemp("keys")
    made = []
    for kind in KINDS:
        argv = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(folder / kind)]
        subprocess.run(argv, check=True, timeout=60)
        line = (folder / f"{kind}.pub").read_text()
        made.append((" ".join(line.split()[:2]), _shown(line)[0].split()[1]))
    yield made


def _shown(text: str) -> list[str]:
    """Return what ssh-keygen, with sshd's own parser, finds in a file of keys."""
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=text.encode(), capture_output=True, timeout=30
    )
    return done.stdout.decode("utf-8", "replace").splitlines()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 2]), OPTIONS, COMMENTS), min_size=1, max_size=3))
def test_any_key_with_any_options_and_comment(
    keys: list[tuple[str, str]], given: list[tuple[int, list[str], str]]
) -> None:
    """Each line of piot.conf is one key to sshd, and the one that was meant."""
    lines = [
        " ".join(filter(None, (",".join(options), keys[kind][0], comment)))
        for kind, options, comment in given
    ]
    text = "[user]\nname = ada\n" + "".join(f"authorized_key = {line}\n" for line in lines)
    items = [item for part in render_config(parse(text.encode()), Facts()) for item in part.items]
    (file,) = [item for item in items if isinstance(item, Lines) and "authorized" in item.path]
    wanted = list(dict.fromkeys(lines))
    assert list(file.lines) == wanted
    found = _shown("".join(f"{line}\n" for line in file.lines))
    meant = [keys[kind][1] for line in wanted for kind in (0, 1, 2) if keys[kind][0] in line]
    assert [line.split()[1] for line in found] == meant


@settings(max_examples=60, deadline=None)
@given(
    st.from_regex(r"[A-Za-z0-9.-]{1,70}", fullmatch=True)
    | st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]{1,9}){0,2}", fullmatch=True)
)
def test_any_host_name_that_is_taken_is_one_to_systemd(name: str) -> None:
    """And /etc/hostname holds it as systemd itself would write it."""
    try:
        config = parse(f"[device]\nhostname = {name}\n".encode())
    except ConfigError:
        return
    items = [item for part in render_config(config, Facts()) for item in part.items]
    files = {item.path: item.content for item in items if isinstance(item, File)}
    with TemporaryDirectory() as folder:
        argv = ["systemd-firstboot", f"--root={folder}", f"--hostname={name}"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        assert files["/etc/hostname"] == Path(folder, "etc/hostname").read_bytes()
