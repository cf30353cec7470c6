"""The page of the fallback access point in Chromium, at the size of a phone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from piot_firstboot import config, portal
from piot_firstboot.errors import ConfigError
from piot_firstboot.fallback import Desk
from piot_firstboot.newwifi import Network
from piot_firstboot.portal import Site
from piot_firstboot.system import System
from tests.kit import browser
from tests.kit.browser import DOWN, ENTER, SPACE, TAB, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(browser.missing()) and "CI" not in os.environ, reason="needs chromium and its driver"
    ),
]

NEAR = (
    Network(b"Harbour House", 82, "WPA2"),
    Network("Café Zoë 🌱".encode(), 61, ""),
    Network(b"a-very-long-network-name-of-32-b", 48, "WPA2 WPA3"),
    Network(b"eduroam", 40, "WPA2 802.1X"),
)
CONF = "[device]\nhostname = garden\n\n[wifi]\nssid = old\npassword = old password\ncountry = DE\n"
FOCUS = "const e = document.activeElement; return e.id || e.name || e.type || e.tagName"


@pytest.fixture(scope="module")
def phone() -> Iterator[Browser]:
    with Browser() as window:
        yield window


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot/piot.conf").write_text(CONF)
    zones = tmp_path / "usr/share/zoneinfo"
    zones.mkdir(parents=True)
    (zones / "iso3166.tab").write_text("DE\tGermany\nFR\tFrance\nGB\tBritain (UK)\nSE\tSweden\n")
    return Desk(System(str(tmp_path)), "garden", NEAR)


@pytest.fixture
def page(desk: Desk, phone: Browser) -> Iterator[str]:
    """Serve the page and show it."""
    done = threading.Event()
    server = portal.listen("127.0.0.1", 0)
    host = f"127.0.0.1:{server.getsockname()[1]}"
    site = Site((host,), desk.show, desk.take)
    thread = threading.Thread(target=portal.serve, args=(server, site, lambda: not done.is_set()))
    thread.start()
    try:
        phone.go(f"http://{host}/")
        yield f"http://{host}/"
    finally:
        done.set()
        thread.join(10)
        server.close()


def conf(desk: Desk) -> str:
    return Path(desk.system.path("/boot/piot.conf")).read_text()


def text(phone: Browser, selector: str) -> str:
    return str(phone.run("return document.querySelector(arguments[0]).innerText", selector))


def shot(phone: Browser, name: str) -> None:
    """Save a picture where PIOT_SHOTS says."""
    if folder := os.environ.get("PIOT_SHOTS"):
        phone.screenshot(Path(folder, f"{name}.png"))


def fits_the_screen(phone: Browser) -> bool:
    script = "const e = document.documentElement; return [e.scrollWidth, innerWidth]"
    wide, window = phone.run(script)
    return bool(wide <= window == 360)


def test_it_fits_and_is_big_enough_for_thumbs(phone: Browser, page: str) -> None:
    shot(phone, "first")
    assert fits_the_screen(phone)
    low = phone.run(
        "return [...document.querySelectorAll('label.net, input.text, select, button, .tick')]"
        ".filter(e => e.offsetParent).map(e => [e.innerText, e.getBoundingClientRect().height])"
        ".filter(pair => pair[1] < 44)"
    )
    assert low == []
    small = phone.run("return parseFloat(getComputedStyle(document.body).fontSize)")
    assert small >= 16, "iPhones zoom into fields with smaller letters"
    assert phone.run("return document.querySelector('#n0').checked"), "the strongest is picked"
    assert phone.run("return document.querySelector('#country').value") == "DE"


@pytest.mark.parametrize("dark", [False, True])
def test_letters_stand_out_in_light_and_dark(phone: Browser, page: str, dark: bool) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 for text."""
    phone.dark(dark)
    shot(phone, "dark" if dark else "light")
    script = """
    const light = text => {
      const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const paper = e => {
      for (; e; e = e.parentElement) {
        const c = getComputedStyle(e).backgroundColor;
        if (!c.startsWith('rgba(0, 0, 0, 0')) return c;
      }
      return 'rgb(255,255,255)';
    };
    return [...document.querySelectorAll('h1, label, small, button, legend, .hint, select')]
      .map(e => {
        const pair = [light(getComputedStyle(e).color), light(paper(e))].sort((a, b) => b - a);
        return [e.innerText, (pair[0] + 0.05) / (pair[1] + 0.05)];
      }).filter(pair => pair[1] < 4.5);
    """
    try:
        assert phone.run(script) == []
        background = phone.run("return getComputedStyle(document.body).backgroundColor")
        assert (background != "rgb(255, 255, 255)") == dark
    finally:
        phone.dark(False)


def test_by_keyboard_alone_from_the_first_field_to_a_written_file(
    phone: Browser, page: str, desk: Desk
) -> None:
    order = []
    for _ in range(5):
        phone.keys(TAB)
        order.append(phone.run(FOCUS))
        seen = phone.run(
            "const e = document.activeElement;"
            "const shown = e.classList.contains('pick') ? e.nextElementSibling : e;"
            "const s = getComputedStyle(shown); return [s.outlineStyle, parseFloat(s.outlineWidth)]"
        )
        assert seen[0] == "solid", order
        assert seen[1] >= 2, order
    assert order == ["n0", "password", "show", "country", "submit"]
    phone.go(page)
    phone.keys(TAB + DOWN)
    assert phone.run("return document.querySelector('#n1').checked")
    phone.keys(DOWN + DOWN)  # past the one that cannot be picked
    assert phone.run(FOCUS) == "other"
    with phone.next_page():
        phone.keys(TAB + "Hidden #1" + TAB + TAB + " pass word" + ENTER)
    assert "Saved. Connecting to Hidden #1" in text(phone, "h1")
    shot(phone, "saved")
    assert fits_the_screen(phone)
    assert conf(desk) == CONF + (
        '\n[wifi.hidden-1]\nssid = Hidden #1\npassword = " pass word"\nhidden = yes\n'
    )
    config.parse(conf(desk).encode())


def test_by_touch(phone: Browser, page: str, desk: Desk) -> None:
    assert phone.run("return document.querySelector('#ssid').offsetParent") is None
    phone.click("label[for=other]")
    assert phone.run("return document.querySelector('#ssid').offsetParent !== null")
    phone.click("label[for=n0]")
    phone.click("#password")
    phone.keys("correct horse")
    with phone.next_page():
        phone.click("button")
    assert "Harbour House" in text(phone, "h1")
    assert "[wifi.harbour-house]\nssid = Harbour House\npassword = correct horse\n" in conf(desk)


def test_the_password_is_hidden_until_asked_for(phone: Browser, page: str) -> None:
    script = "return getComputedStyle(document.querySelector('#password')).webkitTextSecurity"
    assert phone.run(script) == "disc"
    phone.click("#show")
    assert phone.run(script) == "none"
    phone.keys(SPACE)
    assert phone.run(script) == "disc"


@pytest.mark.parametrize(
    ("entered", "written", "field"),
    [
        ("short", "ssid = Harbour House\npassword = short\n", "password"),
        ("", "ssid = Harbour House\npassword =\n", "password"),
    ],
)
def test_what_the_judge_refuses_is_refused_in_its_words(
    phone: Browser, page: str, desk: Desk, entered: str, written: str, field: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        config.parse(f"{CONF}[wifi.new]\n{written}".encode())
    words = caught.value.problems[0].message
    phone.click("#password")
    with phone.next_page():
        phone.keys(entered + ENTER)
    assert words in text(phone, f"#{field}-error")
    shot(phone, f"refused-{entered or 'empty'}")
    assert phone.run(FOCUS) == field
    about = "return document.querySelector(arguments[0]).getAttribute('aria-describedby')"
    assert phone.run(about, f"#{field}") == f"{field}-error"
    near = phone.run(
        "const a = document.querySelector(arguments[0]).getBoundingClientRect();"
        "const b = document.querySelector(arguments[1]).getBoundingClientRect();"
        "return b.top - a.bottom",
        f"#{field}",
        f"#{field}-error",
    )
    assert 0 <= near < 24, "right below the field"
    assert fits_the_screen(phone)
    assert conf(desk) == CONF, "nothing was written"
    assert phone.run("return document.querySelector('#n0').checked"), "the choice is kept"
    with phone.next_page():
        phone.keys("correct horse" + ENTER)
    assert "Saved" in text(phone, "h1")


def test_a_name_that_no_network_can_have_and_a_country_that_is_none(
    phone: Browser, page: str, desk: Desk
) -> None:
    phone.click("label[for=other]")
    phone.click("#ssid")
    phone.keys("x" * 33)
    phone.click("#password")
    with phone.next_page():
        phone.keys("correct horse" + ENTER)
    with pytest.raises(ConfigError) as caught:
        config.parse(f"{CONF}[wifi.new]\nssid = {'x' * 33}\n".encode())
    assert caught.value.problems[0].message in text(phone, "#network-error")
    assert phone.run(FOCUS) == "ssid"
    assert phone.run("return document.querySelector('#ssid').value") == "x" * 33
    assert conf(desk) == CONF


def test_no_country_yet(phone: Browser, page: str, desk: Desk) -> None:
    Path(desk.system.path("/boot/piot.conf")).write_text("[device]\nhostname = garden\n")
    phone.go(page)
    phone.click("#password")
    with phone.next_page():
        phone.keys("correct horse" + ENTER)
    with pytest.raises(ConfigError) as caught:
        config.parse(b"[wifi]\nssid = Harbour House\npassword = correct horse\n")
    assert caught.value.problems[0].message in text(phone, "#country-error")
    shot(phone, "country")
    assert phone.run(FOCUS) == "country"
    phone.keys("Ger")
    phone.click("#password")
    with phone.next_page():
        phone.keys("correct horse" + ENTER)
    assert "Saved" in text(phone, "h1")
    assert "[wifi]\nssid = Harbour House\npassword = correct horse\ncountry = DE\n" in conf(desk)


def test_mistakes_elsewhere_and_why_the_last_try_failed(
    phone: Browser, page: str, desk: Desk
) -> None:
    desk.last = "Harbour House did not connect: the password is wrong, or there is none"
    phone.go(page)
    assert text(phone, "[role=status]") == desk.last
    shot(phone, "again")
    Path(desk.system.path("/boot/piot.conf")).write_text(CONF + "[ssh]\nenabeld = yes\n")
    phone.click("#password")
    with phone.next_page():
        phone.keys("correct horse" + ENTER)
    said = text(phone, "[role=alert]")
    assert "Not saved." in said
    assert "piot.conf, line 9: there is no key enabeld in [ssh] did you mean enabled?" in said
    shot(phone, "elsewhere")
    assert fits_the_screen(phone)
    assert "[wifi.harbour-house]" not in conf(desk)


def test_the_probe_of_a_phone_leads_to_the_page(phone: Browser, page: str) -> None:
    port = page.rstrip("/").rpartition(":")[2]
    phone.go(f"http://localhost:{port}/generate_204")
    assert phone.url == page
    assert "Connect garden to Wi-Fi" in text(phone, "h1")


def test_nothing_is_fetched_and_the_browser_has_nothing_to_complain_about(
    phone: Browser, page: str
) -> None:
    names = phone.run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in names if not name.startswith("data:")] == []
    assert (
        phone.run("return getComputedStyle(document.querySelector('button')).minHeight") == "52px"
    )
