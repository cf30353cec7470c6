"""Renderings that depend on what the device has: where the locale lies, who asks time servers."""

from __future__ import annotations

import json

from piot_firstboot.config import parse
from piot_firstboot.facts import Facts
from piot_firstboot.items import File, Item, Package, Symlink, key
from piot_firstboot.render import render_config


def items(text: str, facts: Facts, late: bool) -> dict[str, Item]:
    """Render a piot.conf; return the items of its early or of its late parts."""
    parts = render_config(parse(text.encode()), facts)
    return {key(item): item for part in parts if part.late == late for item in part.items}


def test_where_the_locale_lies() -> None:
    """Trixie makes /etc/default/locale a link at each boot, so that a file there would be lost."""
    text = "[device]\nlocale = de_DE.UTF-8\n"
    old = items(text, Facts(codename="bookworm"), late=True)
    assert isinstance(old["file /etc/default/locale"], File)
    assert "file /etc/locale.conf" not in old
    for codename in ("trixie", "forky", ""):
        new = items(text, Facts(codename=codename), late=True)
        assert isinstance(new["symlink /etc/default/locale"], Symlink)
        assert "file /etc/default/locale" not in new


def test_a_locale_is_not_named_before_it_is_there() -> None:
    """All of it is late: building takes time, and the package may be missing."""
    assert not [
        k for k in items("[device]\nlocale = de_DE.UTF-8\n", Facts(), False) if "ocale" in k
    ]
    plain = items("[device]\nlocale = C.UTF-8\n", Facts(), late=True)
    assert "package locales" not in plain and "lines /etc/locale.gen" not in plain


def test_chrony() -> None:
    """chrony gets a file of sources; a pool is named as one."""
    text = "[time]\nntp = ntp.lan\nntp = 2.debian.pool.ntp.org\n"
    made = items(text, Facts(ntp="chrony"), late=False)
    file = made["file /etc/chrony/sources.d/piot.sources"]
    assert isinstance(file, File)
    lines = file.content.decode().splitlines()[1:]
    assert lines == ["server ntp.lan iburst", "pool 2.debian.pool.ntp.org iburst"]
    assert "unit chrony.service" in made
    assert not items(text, Facts(ntp="chrony"), late=True)


def test_nothing_asks_time_servers() -> None:
    """The file is there before the program is installed, and its unit is not named before."""
    made = items("[time]\nntp = ntp.lan\n", Facts(), late=False)
    assert "file /etc/systemd/timesyncd.conf.d/50-piot.conf" in made
    assert "unit systemd-timesyncd.service" not in made
    assert items("[time]\nntp = ntp.lan\n", Facts(), late=True) == {
        "package systemd-timesyncd": Package("systemd-timesyncd")
    }


def test_halves_of_a_window() -> None:
    """What is fetched in the first half is installed in the second, past midnight too."""
    made = items("[update]\nsystem = all\nwindow = 23:30-00:30\n", Facts(), late=False)
    for timer, begin in (("apt-daily", "23:30"), ("apt-daily-upgrade", "00:00")):
        file = made[f"file /etc/systemd/system/{timer}.timer.d/piot.conf"]
        assert isinstance(file, File)
        assert f"OnCalendar=*-*-* {begin}\nRandomizedDelaySec=30min\n" in file.content.decode()


def test_device_json() -> None:
    """The file is for programs, and not there when there is nothing to say."""
    text = "[device]\nhostname = pi-{mac6}\nlabels = room=Küche\n"
    file = items(text, Facts(mac="b827ebcdef12"), late=False)["file /var/lib/piot/device.json"]
    assert isinstance(file, File)
    said = {"schema": 1, "name": "pi-cdef12", "role": "", "labels": {"room": "Küche"}}
    assert json.loads(file.content) == said
    assert "file /var/lib/piot/device.json" not in items(
        "[device]\nhostname = pi\n", Facts(), False
    )


def test_jobs_share_nothing() -> None:
    """Each job is a part of its own, and can go by itself."""
    text = "[job.a]\nrun = true\nevery = 1h\n[job.b]\nrun = true\nonce = boot\n"
    parts = {part.section: part for part in render_config(parse(text.encode()), Facts())}
    assert not set(map(key, parts["job.a"].items)) & set(map(key, parts["job.b"].items))
