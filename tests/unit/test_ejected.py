"""Unit files without PioT, and sections made comments."""

from __future__ import annotations

import pytest

from piot_firstboot.confedit import comment_out
from piot_firstboot.config import parse
from piot_firstboot.ejected import eject

OURS = {"piot-firstboot.service", "piot-alert@.service", "piot-deploy@.timer"}


def after(text: str) -> str:
    """Return what becomes of a unit's text."""
    return eject(text, "mix", OURS).text


def test_the_header_says_whose_it_is() -> None:
    head = "# Made by PioT from .piot.yaml of mix, commit 12.\n"
    text = f"{head}# The next deploy replaces this file.\n[Unit]\nDescription=x\n"
    said = "# It is yours: `piot eject` took PioT out of it.\n"
    assert after(text) == f"{head}{said}[Unit]\nDescription=x\n"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("After=network.target piot-firstboot.service piot-mix-a.service",
         "After=network.target piot-mix-a.service"),
        ("After=piot-firstboot.service", None),
        ("OnFailure=piot-alert@%n.service", None),
        ("PartOf=piot-mix.target", "PartOf=piot-mix.target"),
        ("Wants=piot-firstboot.timer", "Wants=piot-firstboot.timer"),
        ("Environment=After=piot-firstboot.service", "Environment=After=piot-firstboot.service"),
    ],
)  # fmt: skip
def test_what_is_ordered_with_units_of_piot(line: str, left: str | None) -> None:
    kept = f"{left}\n" if left else ""
    assert after(f"[Unit]\n{line}\n\n[Service]\n") == f"[Unit]\n{kept}\n[Service]\n"


def test_secrets_come_from_systemds_own_store() -> None:
    sealed = "LoadCredentialEncrypted=KEY:/var/lib/piot/secrets/KEY.cred\n"
    plain = "LoadCredential=OLD:/var/lib/piot/secrets/OLD\n"
    other = "LoadCredential=X:/etc/x\n"
    done = eject(f"[Service]\n{sealed}{plain}{other}", "mix", OURS)
    assert done.text == (
        "[Service]\n"
        "LoadCredentialEncrypted=KEY:/etc/credstore.encrypted/piot-mix.KEY\n"
        f"LoadCredential=OLD:/etc/credstore/piot-mix.OLD\n{other}"
    )
    assert done.copies == {
        "/var/lib/piot/secrets/KEY.cred": "/etc/credstore.encrypted/piot-mix.KEY",
        "/var/lib/piot/secrets/OLD": "/etc/credstore/piot-mix.OLD",
    }


def test_what_calls_piot_goes_and_is_named() -> None:
    calls = "ExecStopPost=-+/usr/bin/piot ping mix/snap\n"
    done = eject(f"[Service]\nExecStart=/opt/piot x\n{calls}", "mix", OURS)
    assert done.text == "[Service]\nExecStart=/opt/piot x\n"
    assert done.lost == (calls.strip(),)


def test_twice_is_once() -> None:
    text = (
        "# The next deploy replaces this file.\n[Unit]\nAfter=piot-firstboot.service x.target\n"
        "[Service]\nLoadCredential=A:/var/lib/piot/secrets/A\n"
    )
    assert after(after(text)) == after(text)


CONF = (
    "[device]\nhostname = pi\n\n[app.mix]\nrepo = https://x.test/mix\n# mine\nref = main\n[ssh]\n"
)


def test_a_section_becomes_a_comment() -> None:
    assert comment_out(CONF.encode(), "app.mix", "why").decode() == (
        "[device]\nhostname = pi\n\n# why\n# [app.mix]\n# repo = https://x.test/mix\n# mine\n"
        "# ref = main\n[ssh]\n"
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_in_any_encoding(encoding: str, end: str) -> None:
    data = CONF.replace("\n", end).encode(encoding)
    done = comment_out(data, "app.mix", "why")
    assert done != data
    assert parse(done).apps == ()
    assert done.decode(encoding).count(f"# [app.mix]{end}") == 1


def test_other_sections_stay() -> None:
    assert comment_out(CONF.encode(), "app", "why") == CONF.encode()
