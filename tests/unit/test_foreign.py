"""Files of other tools: any bytes are read or refused, and names and passwords come through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from piot_firstboot import cli, config, conftext
from piot_firstboot.convert import convert
from piot_firstboot.errors import ConfigError
from piot_firstboot.foreign import formats, order
from piot_firstboot.foreign.carried import Carried, Left, masked
from piot_firstboot.foreign.compose import Composed, compose

CASES = Path(__file__).parent.parent / "cases" / "import"
ROWS = {row.name: row for row in formats.FORMATS}
# Words of the formats, so that chance makes files that are nearly right.
WORDS = tuple(
    """
    config_version = 1 [system] [user] [ssh] [wlan] [locale] [ethernet] ssid psk password name
    hostname users: packages: network: version: 2 ethernets: wifis: access-points: eth0: wlan0:
    addresses: routes: auth: key-management: eap dhcp4: true false null ~ - [ ] { } , : = " ' # | >
    network={ } key_mgmt=WPA-PSK ssid=" psk=" P" \\x \\0 AUTO_SETUP_NET_USESTATIC=1
    AUTO_SETUP_NET_STATIC_IP= aWIFI_SSID[0]=' '\\'' chpasswd: list: sudo: ALL=(ALL) default
    &a *a << ? !!binary config: type: physical subnets: static address: 192.168.1.1/24 country=DE
    """.split()
)
near_files = st.lists(
    st.sampled_from((*WORDS, "\n", "\n  ", "\n    ", "\n- ", " ", "\t", "é", "\x00", "\u2028")),
    max_size=60,
).map(lambda words: " ".join(words).replace(" \n", "\n").replace("\n ", "\n"))
samples = st.sampled_from(
    [
        path.read_bytes()
        for path in sorted(CASES.glob("*/*"))
        if not path.name.startswith("expected.")
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A file of a case with a piece of it replaced, doubled or cut out."""
    data = draw(samples)
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 40)))
    other = draw(st.one_of(st.binary(max_size=6), st.sampled_from([w.encode() for w in WORDS])))
    return data[:start] + other * draw(st.integers(0, 2)) + data[end:]


def composed(name: str, data: bytes) -> Composed | None:
    """Read a file as a format says, None when it is refused; each problem has its place."""
    try:
        carried = ROWS[name].carry(data, name)
    except ConfigError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.source == name and problem.message.isprintable()
            assert (problem.line > 0) == (problem.column > 0)
            assert problem.line <= len(data) + 1
        return None
    return compose([carried])


@pytest.mark.parametrize("name", formats.NAMES)
@given(data=st.one_of(st.binary(max_size=200), near_files.map(str.encode), damaged()))
@example(data=b"[" * 5000)
@example(data=b"a = " + b"[" * 5000)
@example(data=b"a = " + b"9" * 5000)
@example(data=b"\xff\xfen\x00=\x00\x00\xd8")
@example(data=b'{"a": "\\ud800"}')
def test_any_bytes_become_a_piot_conf_or_problems(name: str, data: bytes) -> None:
    """No traceback; and what is written reads as just what was meant."""
    result = composed(name, data)
    if result is None:
        return
    text = result.text([name])
    _, blocks = conftext.read(text.encode())
    found = {b.name: [(e.key, e.value) for e in b.entries] for b in blocks if b.line}
    assert not any(block.flaws for block in blocks)
    assert found == {
        section: [(key, value) for key, values in keys.items() for value in values]
        for section, keys in result.sections.items()
    }
    for left in result.left:
        assert str(left).isprintable()
    try:
        config.parse(text.encode())
    except ConfigError as error:
        # Only what several values say together may be wrong: each was judged by itself.
        for problem in error.problems:
            assert "there is no key" not in problem.message
            assert "there is no section" not in problem.message


@given(data=st.one_of(st.binary(max_size=200), damaged()), name=st.text(max_size=20))
def test_any_file_is_recognized_or_not(data: bytes, name: str) -> None:
    """Telling the format of any file ends without a traceback."""
    found = formats.recognize(data, name)
    assert found is None or found in formats.FORMATS


# -- names and passwords ------------------------------------------------------------------------

ssids = st.binary(min_size=1, max_size=32)
texts = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=16).filter(
    lambda text: len(text.encode()) <= 32
)
passphrases = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=8, max_size=63)


def read_back(result: Composed | None) -> tuple[bytes, str | None]:
    """Return name and password of the only network of what was written."""
    assert result is not None and result.needs_country is False, result
    (network,) = config.parse(result.text(["x"]).encode()).wifi
    return network.ssid, network.password


@given(ssid=ssids, password=passphrases)
@example(ssid=b'"', password='"quoted"')
@example(ssid=b"\xff\xfe", password=" blanks ")
@example(ssid=b"# no comment", password="; nor # this")
@example(ssid="\u00a0caf\u00e9".encode(), password="'''''''''")
def test_a_wpa_supplicant_conf_comes_through(ssid: bytes, password: str) -> None:
    """Any name in hexadecimal and any password in quotes."""
    text = f'country=DE\nnetwork={{\nssid={ssid.hex()}\npsk="{password}"\n}}\n'
    assert read_back(composed("wpa_supplicant.conf", text.encode())) == (ssid, password)


@given(ssid=ssids)
def test_escapes_of_wpa_supplicant_come_through(ssid: bytes) -> None:
    """Any name as a printf string."""
    escaped = "".join(f"\\x{byte:02x}" for byte in ssid)
    text = f'country=DE\nnetwork={{\nssid=P"{escaped}"\nkey_mgmt=NONE\n}}\n'
    assert read_back(composed("wpa_supplicant.conf", text.encode())) == (ssid, None)


@given(ssid=texts, password=passphrases)
@example(ssid="\ufffd", password="\\\\\\\\\\\\\\\\")
def test_a_network_config_comes_through(ssid: str, password: str) -> None:
    """Any name and password in double quotes, whose escapes are those of JSON."""
    # YAML takes the escapes of JSON, but no pairs of them for one character.
    name, secret = (
        '"' + "".join(c if ord(c) > 0xFFFF else json.dumps(c)[1:-1] for c in text) + '"'
        for text in (ssid, password)
    )
    text = (
        "network: {version: 2, wifis: {wlan0: {regulatory-domain: DE, access-points: "
        f"{{{name}: {{password: {secret}}}}}}}}}}}\n"
    )
    assert read_back(composed("network-config", text.encode())) == (ssid.encode(), password)


@given(ssid=texts, password=passphrases)
def test_a_custom_toml_comes_through(ssid: str, password: str) -> None:
    """Any name and password in a TOML text, whose escapes are those of JSON for these."""
    quoted = [json.dumps(text, ensure_ascii=False) for text in (ssid, password)]
    text = (
        f"config_version = 1\n[wlan]\nssid = {quoted[0]}\npassword = {quoted[1]}\n"
        'password_encrypted = false\ncountry = "DE"\n'
    )
    assert read_back(composed("custom.toml", text.encode())) == (ssid.encode(), password)


@given(ssid=texts, password=passphrases)
def test_a_dietpi_wifi_comes_through(ssid: str, password: str) -> None:
    """Any name and password in single quotes, as a shell takes them."""
    quoted = [text.replace("'", "'\\''") for text in (ssid, password)]
    wifi = f"aWIFI_SSID[0]='{quoted[0]}'\naWIFI_KEY[0]='{quoted[1]}'\n"
    files = [
        ROWS["dietpi.txt"].carry(b"AUTO_SETUP_NET_WIFI_COUNTRY_CODE=DE\n", "dietpi.txt"),
        ROWS["dietpi-wifi.txt"].carry(wifi.encode(), "dietpi-wifi.txt"),
    ]
    assert read_back(compose(files)) == (ssid.encode(), password)


def test_a_refused_password_does_not_open_a_network() -> None:
    """Without its password a network is not taken for one without protection."""
    text = 'country=DE\nnetwork={\nssid="Home"\npsk="' + "ö" * 120 + '"\n}\n'
    result = composed("wpa_supplicant.conf", text.encode())
    assert result is not None
    assert result.sections["wifi"]["security"] == ["wpa2"] and result.left
    with pytest.raises(ConfigError, match="needs a password"):
        config.parse(result.text(["x"]).encode())


# -- several files ------------------------------------------------------------------------------


def carried(name: str, text: str, source: str = "") -> Carried:
    """Read a text as a format says."""
    return ROWS[name].carry(text.encode(), source or name)


def test_the_first_file_wins_and_the_rest_is_named() -> None:
    """What two files say of one thing stands once."""
    toml = 'config_version = 1\n[system]\nhostname = "one"\n[user]\nname = "anna"\n'
    files = [
        carried("custom.toml", toml),
        carried("user-data", "#cloud-config\nhostname: two\nusers: [anna, bob]\n"),
    ]
    result = compose(files)
    assert result.sections["device"] == {"hostname": ["one"]}
    assert list(result.sections) == ["device", "user", "user.bob"]
    assert [(left.source, left.line) for left in result.left] == [("user-data", 2)]


def test_main_users_of_two_files_are_two_users() -> None:
    """The first is the main one."""
    files = [
        carried("user-data", "#cloud-config\nusers: [anna]\n", "a"),
        carried("user-data", "#cloud-config\nusers: [bob]\n", "b"),
    ]
    assert list(compose(files).sections) == ["user", "user.bob"]


def test_networks_of_two_files_keep_apart() -> None:
    """The same network stands once, others of a like name beside it."""
    text = 'country=DE\nnetwork={{\nssid="{}"\nkey_mgmt=NONE\n}}\n'
    names = [f"wpa_supplicant-{n}.conf" for n in range(3)]
    files = [
        carried("wpa_supplicant.conf", text.format(ssid), name)
        for name, ssid in zip(names, ("Home", "home", "Home"), strict=True)
    ]
    result = compose(files)
    networks = {name: keys["ssid"] for name, keys in result.sections.items()}
    assert networks == {"wifi.home": ["Home"], "wifi.home-2": ["home"]}
    config.parse(result.text(names).encode())


def test_an_odd_user_takes_nothing_along() -> None:
    """A name that cannot be one is no header either."""
    text = '#cloud-config\nusers:\n- name: "a]\\n[app"\n  shell: /bin/sh\n- {name: "b c"}\n'
    result = compose([carried("user-data", text)])
    assert result.sections == {}
    assert len(result.left) == 2


def test_a_line_is_shown_as_far_as_its_key() -> None:
    """All behind it may be a secret."""
    assert masked("  - password: x y") == "  - password: ***"
    assert masked("psk=x=y") == "psk=***"
    assert masked("hunter2") == "" == masked("")
    assert str(Left("a", 0, "b", "c")) == "a: b: c"


# -- the verb -----------------------------------------------------------------------------------


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """A custom.toml with a password in it."""
    path = tmp_path / "custom.toml"
    path.write_text(
        'config_version = 1\nx = 1\n[user]\nname = "anna"\npassword = "hunter2222"\n'
        "password_encrypted = false\n"
    )
    return path


def test_import_prints_a_piot_conf(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file goes to standard output, what is left to standard error."""
    assert cli.main(["import", str(toml)]) == 0
    said = capsys.readouterr()
    assert "password = hunter2222\n" in said.out
    assert "custom.toml:2: x:" in said.err and "hunter2222" not in said.err
    assert config.parse(said.out.encode()).accounts[0].name == "anna"


def test_import_writes_a_file_once(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there stays, unless --force; nobody else may read it."""
    target = toml.parent / "piot.conf"
    assert cli.main(["import", str(toml), "-o", str(target)]) == 0
    assert capsys.readouterr().out == ""
    assert target.stat().st_mode & 0o777 == 0o600
    first = target.read_text()
    target.write_text("mine\n")
    assert cli.main(["import", str(toml), "-o", str(target)]) == 1
    assert "--force" in capsys.readouterr().err and target.read_text() == "mine\n"
    assert cli.main(["import", str(toml), "-o", str(target), "--force"]) == 0
    assert target.read_text() == first
    assert sorted(path.name for path in toml.parent.iterdir()) == ["custom.toml", "piot.conf"]
    for wrong in (toml.parent, toml.parent / "none" / "piot.conf"):
        assert cli.main(["import", str(toml), "-o", str(wrong), "--force"]) == 1
    assert sorted(path.name for path in toml.parent.iterdir()) == ["custom.toml", "piot.conf"]


def test_import_for_programs(toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has the sections, what is left and what is wrong."""
    assert cli.main(["import", "--json", str(toml)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["sections"]["user"] == {"name": "anna", "password": "hunter2222"}
    assert said["left"] == [
        {"source": "custom.toml", "line": 2, "what": "x", "why": "PioT has no setting for this"}
    ]
    toml.write_text("x = [")
    assert cli.main(["import", "--json", str(toml)]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["sections"] == {} and said["problems"][0]["line"] == 1


def test_import_names_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Files of one name are told apart; a file that is not there is said so."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "user-data").write_text("#cloud-config\nhostname: [x\n")
    paths = [str(tmp_path / folder / "user-data") for folder in ("a", "b")]
    assert cli.main(["import", *paths]) == 1
    said = capsys.readouterr().err
    assert all(f"{path}:" in said for path in paths)
    assert cli.main(["import", str(tmp_path / "gone.toml")]) == 1
    assert "gone.toml" in capsys.readouterr().err


def test_sections_are_in_the_order_of_the_contract() -> None:
    """As people expect to find them, whatever the order of the files."""
    folder = CASES / "dietpi-typical"
    done = convert([str(folder / "dietpi.txt")])
    kinds = [order.kind(section) for section in done.sections]
    assert kinds == [kind for kind in order.KEYS if kind in kinds]
