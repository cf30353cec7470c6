"""Parsers of locale, keyboard, time servers, updates, packages, limits and jobs, one text each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from piot_firstboot import jobvalues, systemvalues, watchvalues
from piot_firstboot.values import BadValue
from piot_firstboot.watchvalues import Amount

GOOD: tuple[tuple[Callable[[str], object], str, object], ...] = (
    (systemvalues.locale, "de_DE.UTF-8", "de_DE.UTF-8"),
    (systemvalues.locale, "de_DE.utf8", "de_DE.UTF-8"),
    (systemvalues.locale, "C.UTF-8", "C.UTF-8"),
    (systemvalues.locale, "eo.UTF-8", "eo.UTF-8"),
    (systemvalues.locale, "ca_ES.UTF-8@valencia", "ca_ES.UTF-8@valencia"),
    (systemvalues.keyboard, "de", "de"),
    (systemvalues.keyboard, "us  intl", "us intl"),
    (systemvalues.keyboard, "de\tT3", "de T3"),
    (systemvalues.role, "gateway-2", "gateway-2"),
    (systemvalues.label, "a=b=c", ("a", "b=c")),
    (systemvalues.label, "site.floor = 2nd floor", ("site.floor", "2nd floor")),
    (systemvalues.ntp_server, "NTP.example.org", "ntp.example.org"),
    (systemvalues.ntp_server, "[2001:DB8::1]", "2001:db8::1"),
    (systemvalues.ntp_server, "router", "router"),
    (systemvalues.system_updates, "ALL", "all"),
    (systemvalues.reboot, "If-Needed", "if-needed"),
    *((systemvalues.package, name, name) for name in ("g++", "libc6:armhf", "0ad", "libstdc++6")),
    (watchvalues.temperature, "80", 80.0),
    (watchvalues.temperature, "80.5 °C", 80.5),
    (watchvalues.amount, "500M", Amount(size=500 << 20)),
    (watchvalues.amount, "1.5 GiB", Amount(size=3 << 29)),
    (watchvalues.amount, "2000000", Amount(size=2_000_000)),
    (watchvalues.amount, "0.5 %", Amount(percent=0.5)),
    (watchvalues.web, "off", None),
    (watchvalues.web, "on", watchvalues.STATUS_PORT),
    (watchvalues.web, "80", 80),
    (watchvalues.led, "no", None),
    (watchvalues.led, "input3::capslock", "input3::capslock"),
    (watchvalues.web_url, "https://h/x?y=z", "https://h/x?y=z"),
    (watchvalues.mqtt_url, "mqtt://u:p%40@h:1883/a/b", "mqtt://u:p%40@h:1883/a/b"),
    (jobvalues.user, "_apt", "_apt"),
    (jobvalues.at, "02:30", ("*-*-* 02:30:00",)),
    (jobvalues.at, "@daily", ("*-*-* 00:00:00",)),
    (jobvalues.span(0, 60), "0", 0.0),
)  # fmt: skip


@pytest.mark.parametrize(("parser", "text", "value"), GOOD)
def test_good(parser: Callable[[str], object], text: str, value: object) -> None:
    """Each text gives this value."""
    assert parser(text) == value


LOCALES = "de_DE de_DE.ISO-8859-15@euro German en-gb de_DE.UTF-8;rm .UTF-8 ../de_DE.UTF-8".split()
PACKAGES = "x -y vim- vim+ a/b Vim vim=1 vim* a,b http://h/x.deb ./x.deb".split()
SERVERS = "a_b -a a- a..b 1.2.3 a:123 ntp://h h/ a,b".split()
BAD: tuple[tuple[Callable[[str], object], str], ...] = (
    *((systemvalues.locale, text) for text in LOCALES),
    *((systemvalues.keyboard, text) for text in ("", "us intl x", "de$(x)", 'd"e', "DE")),
    *((systemvalues.role, text) for text in ("", "2", "a b", "A", "a" * 32, "-a")),
    *((systemvalues.label, text) for text in ("", "=", "a", "a=", "=b", "a b=c", "a.=b")),
    *((systemvalues.ntp_server, text) for text in (*SERVERS, "a" * 64, "a." * 127 + "a")),
    *((systemvalues.system_updates, text) for text in ("", "yes", "every")),
    *((systemvalues.reboot, text) for text in ("", "yes", "02:00")),
    *((systemvalues.package, text) for text in PACKAGES),
    *((watchvalues.temperature, text) for text in ("", "hot", "80K", "29", "111", "-5C", "1e2")),
    *((watchvalues.amount, text) for text in ("", "0", "5", "0%", "100%", "-1M", "1P", "M")),
    *((watchvalues.prom_file, text) for text in ("piot.prom", "/x", "/a/../b.prom", "/.prom")),
    *((watchvalues.web, text) for text in ("", "00", "65536", "http", "-1")),
    *((watchvalues.led, text) for text in ("", "../x", "on", "a b", "/sys")),
    *((watchvalues.web_url, text) for text in ("", "h", "https://", "https://h:0/", "mqtt://h")),
    *((watchvalues.web_url, text) for text in ("https://h:x/", "https://h/ü", "https://[::/")),
    *((watchvalues.mqtt_url, text) for text in ("mqtt://", "mqtt://h/+", "mqtt://h/#", "http://h")),
    *((jobvalues.user, text) for text in ("", "1", "a b", "a$", "A", "%u", "0")),
    *((jobvalues.run, text) for text in ("", "a|b", "a `b`", "$X", "'", "./a", "~/a", "bin/a")),
    *((jobvalues.once, text) for text in ("", "commit", "yes", "Boot")),
    *((jobvalues.name, text) for text in ("", "A", "a b", "a.b", "a" * 41, "-a")),
)  # fmt: skip


@pytest.mark.parametrize(("parser", "text"), BAD)
def test_bad(parser: Callable[[str], object], text: str) -> None:
    """Each text is refused with a message of one line, in whole words."""
    with pytest.raises(BadValue) as caught:
        parser(text)
    said = str(caught.value)
    assert said and "\n" not in said + caught.value.hint
    assert "('" not in said and "shell: true" not in caught.value.hint


@pytest.mark.parametrize("text", ["https://h/hunter2 x", "hunter2://h", "https://h:hunter2/"])
def test_an_address_is_not_shown(text: str) -> None:
    """An address that calls someone is a secret, also where it is wrong."""
    for parser in (watchvalues.web_url, watchvalues.mqtt_url):
        with pytest.raises(BadValue) as caught:
            parser(text)
        assert "hunter2" not in str(caught.value) + caught.value.hint
        assert caught.value.secret
