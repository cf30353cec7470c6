"""dietpi.txt and dietpi-wifi.txt, with which DietPi sets itself up at its first boot."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from piot_firstboot.foreign import sourcetext, wifinet
from piot_firstboot.foreign.carried import Carried, Draft

USER = "dietpi"  # the account that dietpi.txt is about
_DEFAULT_PASSWORD = "dietpi"  # known to everyone
_LINE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)(?:\[(\d{1,4})\])?=(.*)")
_QUOTED = re.compile(r"'((?:[^']|'\\'')*)'\s*(?:#.*)?")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_PLAIN = {  # key → section and key of piot.conf
    "AUTO_SETUP_NET_HOSTNAME": ("device", "hostname"),
    "AUTO_SETUP_TIMEZONE": ("device", "timezone"),
    "AUTO_SETUP_LOCALE": ("device", "locale"),
    "AUTO_SETUP_KEYBOARD_LAYOUT": ("device", "keyboard"),
    "AUTO_SETUP_NET_WIFI_COUNTRY_CODE": ("wifi.*", "country"),
}
_LISTS = {
    "AUTO_SETUP_APT_INSTALLS": ("update", "packages"),
    "AUTO_SETUP_SSH_PUBKEY": ("user", "authorized_key"),
}
# What says just what is the case anyway, or belongs to a key that is read beside it.
_NOTHING: dict[str, frozenset[str]] = {
    "AUTO_SETUP_DHCP_TO_STATIC": frozenset("0"),
    "AUTO_SETUP_NET_ETH_FORCE_SPEED": frozenset("0"),
    "AUTO_SETUP_BOOT_WAIT_FOR_NETWORK": frozenset("01"),
    "AUTO_SETUP_SWAPFILE_SIZE": frozenset("1"),
    "AUTO_SETUP_SWAPFILE_LOCATION": frozenset({"/var/swap", "zram"}),
    "AUTO_SETUP_HEADLESS": frozenset("0"),
    "AUTO_SETUP_CUSTOM_SCRIPT_EXEC": frozenset("0"),
    "AUTO_SETUP_BACKUP_RESTORE": frozenset("0"),
    "AUTO_SETUP_DESKTOP": frozenset({"none"}),
    "AUTO_SETUP_LOGGING_INDEX": frozenset({"0", "-1", "-2", "-3"}),
    "AUTO_SETUP_RAMLOG_MAXSIZE": frozenset({"50"}),
    "AUTO_SETUP_WEB_SERVER_INDEX": frozenset({"0", "-1", "-2"}),
    "AUTO_SETUP_BROWSER_INDEX": frozenset({"0", "-1", "-2"}),
    "AUTO_SETUP_AUTOSTART_TARGET_INDEX": frozenset("0"),
    "AUTO_SETUP_AUTOSTART_LOGIN_USER": frozenset({"root"}),
    "AUTO_SETUP_AUTOMATED": frozenset("01"),
    "AUTO_SETUP_ACCEPT_LICENSE": frozenset("01"),
    "AUTO_UNMASK_LOGIND": frozenset("01"),
}
_WHY = {
    "AUTO_SETUP_INSTALL_SOFTWARE_ID": "name Debian's packages instead: [update] packages = …",
    "AUTO_SETUP_CUSTOM_SCRIPT_EXEC": "make it a job: [job.NAME] with run = … and once = device",
}
_WIRED = "AUTO_SETUP_NET_ETHERNET_ENABLED"
_WIRELESS = "AUTO_SETUP_NET_WIFI_ENABLED"
_STATIC = "AUTO_SETUP_NET_STATIC_"

_READ = frozenset(
    [
        *_PLAIN,
        "AUTO_SETUP_GLOBAL_PASSWORD",
        "AUTO_SETUP_SSH_SERVER_INDEX",
        "SOFTWARE_DISABLE_SSH_PASSWORD_LOGINS",
        "AUTO_SETUP_NET_USESTATIC",
        _WIRED,
        _WIRELESS,
        *(_STATIC + word for word in ("IP", "MASK", "GATEWAY", "DNS")),
    ]
)


@dataclass(frozen=True, slots=True)
class _Line:
    """One assignment; `index` as in `KEY[0]=`, else empty."""

    number: int
    key: str
    index: str
    value: str


def carry(data: bytes, source: str = "dietpi.txt") -> Carried:
    """Read a dietpi.txt. Raises ConfigError."""
    draft = Draft(source)
    if sourcetext.read(draft, data) is None:
        return draft.done()
    lines = _lines(draft)
    last = {line.key: line for line in lines}
    programs: dict[str, list[_Line]] = {}
    _account(draft, last)
    _login(draft, last)
    _network(draft, last)
    for line in lines:
        key, value = line.key, line.value.strip()
        if key in _PLAIN and value and last[key] is line:
            draft.put(*_PLAIN[key], value, line.number)
        elif key in _LISTS:
            values = [value] if key == "AUTO_SETUP_SSH_PUBKEY" else value.split()
            draft.put_all(*_LISTS[key], filter(None, values), line.number)
        elif key == "CONFIG_NTP_MIRROR":
            _time(draft, line)
        elif key == "CONFIG_CHECK_APT_UPDATES" and value == "2":
            draft.put("update", "system", "all", line.number)
        elif key in _READ or not value or value in _NOTHING.get(key, ()):
            continue
        elif key.startswith(("CONFIG_", "SOFTWARE_", "DEV_", "SURVEY_")):
            programs.setdefault(f"{key.partition('_')[0]}_", []).append(line)
        else:
            draft.leave(line.number, key, _WHY.get(key, "PioT has no setting for this"))
    for prefix, group in programs.items():
        why = "these are settings of DietPi's own programs"
        more = f" and {len(group) - 1} more of {prefix}" if len(group) > 1 else ""
        draft.leave(group[0].number, f"{group[0].key}{more}", why)
    return draft.done()


def _lines(draft: Draft) -> list[_Line]:
    """Read `KEY=value` and `KEY[0]=value` lines; DietPi looks for lines that begin so."""
    found = []
    for number, line in enumerate(draft.lines, 1):
        match = _LINE.fullmatch(line)
        if match:
            found.append(_Line(number, match[1], match[2] or "", match[3]))
        elif line.strip() and not line.lstrip().startswith("#"):
            column = len(line) - len(line.lstrip()) + 1
            draft.problem(number, column, "this line is no KEY=value", "begin a comment with #")
    return found


def _account(draft: Draft, last: dict[str, _Line]) -> None:
    """Name DietPi's user if something is known of it."""
    line = last.get("AUTO_SETUP_GLOBAL_PASSWORD")
    key = last.get("AUTO_SETUP_SSH_PUBKEY")
    default = line is not None and line.value == _DEFAULT_PASSWORD
    if line and default:
        why = "DietPi's default is known to everyone; add password = … of your own to [user]"
        draft.leave(line.number, line.key, why)
    if line and line.value and not default:
        draft.put("user", "name", USER, line.number)
        draft.put("user", "password", line.value, line.number)
    elif key and key.value:
        draft.put("user", "name", USER, key.number)


def _login(draft: Draft, last: dict[str, _Line]) -> None:
    """Carry the choice of an SSH server over, and whether passwords do."""
    server = last.get("AUTO_SETUP_SSH_SERVER_INDEX")
    if server and server.value:
        draft.put("ssh", "enabled", server.value.strip() != "0", server.number)
    login = last.get("SOFTWARE_DISABLE_SSH_PASSWORD_LOGINS")
    if login and login.value.strip() in ("0", "1"):
        draft.put("ssh", "password_login", login.value.strip() == "0", login.number)


def _network(draft: Draft, last: dict[str, _Line]) -> None:
    """Carry a fixed address over; with Wi-Fi on it is that of Wi-Fi."""

    def value(key: str) -> str:
        return last[key].value.strip() if key in last else ""

    if value("AUTO_SETUP_NET_USESTATIC") != "1":
        return
    section = "wifi.*" if value(_WIRELESS) == "1" else "ethernet.eth0"
    number = last["AUTO_SETUP_NET_USESTATIC"].number
    address, mask = value(f"{_STATIC}IP"), value(f"{_STATIC}MASK")
    try:
        found = ipaddress.ip_interface(f"{address}/{mask or 24}").with_prefixlen
    except ValueError:
        line = last.get(f"{_STATIC}IP") or last.get(f"{_STATIC}MASK")
        draft.problem(line.number if line else number, 1, "this is not an address with its mask")
        return
    if section != "wifi.*":
        draft.put(section, "interface", "eth0", number)
    draft.put(section, "address", found, number)
    for key, word in (("GATEWAY", "gateway"), ("DNS", "dns")):
        draft.put_all(section, word, value(_STATIC + key).split(), number)


def _time(draft: Draft, line: _Line) -> None:
    """Carry the time servers over."""
    if line.value.strip() == "gateway":
        draft.leave(line.number, line.key, "add [time] ntp = … with the address of your router")
    elif line.value.strip() != "default":
        draft.put_all("time", "ntp", line.value.split(), line.number)


def carry_wifi(data: bytes, source: str = "dietpi-wifi.txt") -> Carried:
    """Read a dietpi-wifi.txt. Raises ConfigError."""
    draft = Draft(source)
    if sourcetext.read(draft, data) is None:
        return draft.done()
    entries: dict[int, dict[str, _Line]] = {}
    for line in _lines(draft):
        if line.key.startswith("aWIFI_") and line.index:
            entries.setdefault(int(line.index), {})[line.key[6:]] = line
        else:
            draft.leave(line.number, line.key, "PioT has no setting for this")
    taken: set[str] = set()
    for _, fields in sorted(entries.items()):
        texts = {name: _unquoted(draft, line) for name, line in fields.items()}
        if texts.get("SSID"):
            _entry(draft, fields, texts, taken)
    return draft.done()


def _entry(draft: Draft, fields: dict[str, _Line], texts: dict[str, str], taken: set[str]) -> None:
    """Carry one network over."""
    places = {name: line.number for name, line in fields.items()}
    network = wifinet.Network(wifinet.ssid_bytes(texts["SSID"]), places["SSID"])
    network.places["password"] = places.get("KEY", 0)
    network.places["security"] = places.get("KEYMGR", 0)
    kind = texts.get("KEYMGR", "").upper()
    if kind == "WEP":
        why = "WEP protects nothing, so PioT does not join such networks"
        draft.leave(places["SSID"], "aWIFI_SSID", why)
        return
    if kind == "WPA-EAP":
        network.security = "eap"
        network.password = texts.get("PASSWORD", "")
        network.places["password"] = places.get("PASSWORD", 0)
        network.more["eap"] = texts.get("EAP", "").lower()
        network.more["identity"] = texts.get("IDENTITY", "")
        if texts.get("PHASE2"):
            network.more["phase2"] = wifinet.phase2(texts["PHASE2"])
        if texts.get("CERT"):
            name = wifinet.file_beside(draft, places["CERT"], "aWIFI_CERT", texts["CERT"])
            network.more["ca_cert"] = name
        network.more = {key: value for key, value in network.more.items() if value}
        network.places |= {key: places.get(key.upper(), 0) for key in network.more}
    elif kind != "NONE":
        network.password = texts.get("KEY", "")
    wifinet.put(draft, network, taken)
    if texts.get("PHASE1"):
        draft.leave(places["PHASE1"], "aWIFI_PHASE1", "PioT has no setting for this")


def _unquoted(draft: Draft, line: _Line) -> str:
    """Return the text that a shell would read: '…' with '\\'' for a quote in it, "…", or a word."""
    value = line.value.strip()
    match = _QUOTED.fullmatch(value)
    if match:
        return match[1].replace("'\\''", "'")
    if value.startswith("'"):
        draft.problem(line.number, 1, "a quote is not closed, or not escaped", "write ' as '\\''")
        return ""
    match = _DOUBLE.fullmatch(value)
    if match:
        return re.sub(r'\\([\\"$`])', r"\1", match[1])
    return value.partition(" #")[0].strip()
