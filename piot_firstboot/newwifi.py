"""A Wi-Fi network that someone entered on the page, put into the text of piot.conf.

Whether it is any good is the judge's business; `beside` says which field each problem is about.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from piot_firstboot import conftext
from piot_firstboot.confedit import edit, fits
from piot_firstboot.conftext import Block
from piot_firstboot.errors import ConfigError, Problem

NETWORK, PASSWORD, COUNTRY = "network", "password", "country"  # where a problem is shown
WHOLE = ""  # a problem of no field

_MOST_FIELDS = 20
_MOST_NETWORKS = 30
# Keys that would contradict what is entered.
_CLEARED = (
    *("ssid_hex", "psk_hex", "security", "hidden", "eap", "identity", "anonymous_identity"),
    *("ca_cert", "client_cert", "client_key", "phase2"),
)


@dataclass(frozen=True, slots=True)
class Network:
    """A network within reach; `security` in NetworkManager's words, "" for none."""

    ssid: bytes
    signal: int
    security: str

    @property
    def enterprise(self) -> bool:
        """Tell whether it asks for a user name, which the page has no field for."""
        return "802.1X" in self.security

    @property
    def keyless(self) -> bool:
        """Tell whether it needs no password."""
        return self.security == "" or "OWE" in self.security


@dataclass(frozen=True, slots=True)
class Form:
    """What was entered. `network` is the SSID that was picked, in hex, or "" for `ssid`."""

    network: str = ""
    ssid: str = ""
    password: str = field(default="", repr=False)
    keyless: bool = False
    country: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A piot.conf with the network in it; `fresh` where the section is a new one."""

    data: bytes = field(repr=False)
    section: str
    fresh: bool


def networks(text: str) -> tuple[Network, ...]:
    """Read `nmcli -t -f SSID-HEX,SIGNAL,SECURITY device wifi list`, the strongest first."""
    found: dict[bytes, Network] = {}
    for line in text.splitlines():
        match = re.fullmatch(r"((?:[0-9A-Fa-f]{2}){1,32}):(\d{1,3}):(.*)", line)
        if not match:
            continue  # a hidden one has no name
        one = Network(bytes.fromhex(match[1]), int(match[2]), match[3].strip("- "))
        if one.ssid not in found or found[one.ssid].signal < one.signal:
            found[one.ssid] = one
    order = sorted(found.values(), key=lambda one: (-one.signal, one.ssid))
    return tuple([one for one in order if one.ssid.strip(b"\0")][:_MOST_NETWORKS])


def read_form(body: bytes) -> Form:
    """Read a form as browsers send it; ValueError when it is none."""
    fields = parse_qs(
        body.decode("ascii"),
        keep_blank_values=True,
        strict_parsing=True,
        errors="surrogateescape",
        max_num_fields=_MOST_FIELDS,
    )
    first = {name: values[0] for name, values in fields.items()}
    picked = first.get("network", "")
    return Form(
        picked if re.fullmatch("([0-9a-f]{2}){1,32}", picked) else "",
        first.get("ssid", ""),
        first.get("password", ""),
        "keyless" in first,
        first.get("country", ""),
        first.get("token", ""),
    )


def countries(text: str) -> dict[str, str]:
    """Read tzdata's iso3166.tab: names of countries by code, in the order of their names."""
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    pairs = [(row[0], row[1]) for row in rows if len(row) == 2 and re.fullmatch("[A-Z]{2}", row[0])]
    return dict(sorted(pairs, key=lambda pair: pair[1]))


def country(data: bytes) -> str:
    """Return the country that a piot.conf names, or ""."""
    return _country(_wifi(data))[1]


def enter(data: bytes, form: Form, near: Sequence[Network], former: str = "") -> Entry:
    """Put what was entered into a piot.conf.

    It goes where this SSID stands already, else where the last attempt (`former`) failed, else into
    a section of its own. Raises ConfigError for what no line of a file can hold, NotText.
    """
    ssid = _ssid(form)
    _check(form)
    blocks = _wifi(data)
    known = next((block.name for block in blocks if ssid and ssid == _named(block)), "")
    old = known or next((block.name for block in blocks if block.name == former), "")
    section = old or _free(blocks, form.ssid if form.network == "" else _text(ssid))
    values = _keys(form, ssid, near)
    at, said = _country(blocks)
    if form.country and form.country != said:
        if at and at != section:
            data = edit(data, at, {"country": form.country})
        else:
            values["country"] = form.country
    return Entry(edit(data, section, values), section, fresh=not known)


def beside(entry: Entry, problems: Iterable[Problem]) -> dict[str, tuple[Problem, ...]]:
    """Sort problems by the field that each is about; WHOLE holds those of the rest of the file."""
    found: dict[str, tuple[Problem, ...]] = {}
    for problem in problems:
        where = _field(entry, problem)
        found[where] = (*found.get(where, ()), problem)
    return found


# -- what goes into the section -----------------------------------------------------------------


def _ssid(form: Form) -> bytes:
    """Return the network's name in bytes, whatever they mean."""
    try:
        return bytes.fromhex(form.network) if form.network else form.ssid.encode("utf-8")
    except ValueError:  # an encoding error is one too
        return b""


def _check(form: Form) -> None:
    """Refuse what cannot stand in a line."""
    fields = ((NETWORK, form.ssid), (PASSWORD, form.password), (COUNTRY, form.country))
    problems = []
    for name, value in fields:
        if not fits(value):
            lost = conftext.LOST.search(value)
            message = "what stands here is not UTF-8" if lost else "a value has just one line"
            problems.append(Problem(name, 0, 0, message))
    if problems:
        raise ConfigError(problems)


def _keys(form: Form, ssid: bytes, near: Sequence[Network]) -> dict[str, str | None]:
    """Return the keys of the network, but for its country."""
    seen = next((one for one in near if one.ssid == ssid), None)
    text = form.ssid if form.network == "" else _text(ssid)
    values: dict[str, str | None] = {"ssid": text}
    if ssid and not text:
        values = {"ssid": None, "ssid_hex": ssid.hex()}
    values["password"] = form.password
    if re.fullmatch("[0-9a-fA-F]{64}", form.password):
        values |= {"password": None, "psk_hex": form.password}  # a key, as many routers print it
    keyless = seen.keyless if seen else form.keyless
    if keyless and not form.password:
        owe = seen is not None and "OWE" in seen.security
        values |= {"password": None, "security": "owe" if owe else "open"}
    if seen is None and ssid:
        values["hidden"] = "yes"  # is asked for by name; does no harm to one that is not hidden
    return {**values, **{key: None for key in _CLEARED if key not in values}}


def _text(ssid: bytes) -> str:
    """Return an SSID as text, "" where it is none that a file should hold."""
    try:
        text = ssid.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() and fits(text) else ""


def _free(blocks: Sequence[Block], text: str) -> str:
    """Name a new section after the network."""
    taken = {block.name for block in blocks}
    if not taken:
        return "wifi"
    word = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:20].strip("-")
    name = word if re.match("[a-z]", word) else f"net-{word}".strip("-")
    names = (f"wifi.{name}{f'-{n}' if n > 1 else ''}" for n in range(1, len(taken) + 2))
    return next(one for one in names if one not in taken)


# -- what the file says -------------------------------------------------------------------------


def _wifi(data: bytes) -> list[Block]:
    """Return the sections of Wi-Fi networks."""
    _, blocks = conftext.read(data)
    return [block for block in blocks if block.name == "wifi" or block.name.startswith("wifi.")]


def _named(block: Block) -> bytes:
    """Return the SSID that a section is for."""
    values = {entry.key: entry.value for entry in block.entries}
    try:
        return bytes.fromhex(values["ssid_hex"]) if "ssid_hex" in values else _first(values)
    except ValueError:
        return b""


def _first(values: Mapping[str, str]) -> bytes:
    return values.get("ssid", "").encode("utf-8")


def _country(blocks: Iterable[Block]) -> tuple[str, str]:
    """Return the section that names the country, and the country."""
    for block in blocks:
        for entry in block.entries:
            if entry.key == "country":
                return block.name, entry.value
    return "", ""


def _field(entry: Entry, problem: Problem) -> str:
    """Tell which field a problem is about."""
    if problem.source in (NETWORK, PASSWORD, COUNTRY):
        return problem.source
    for block in _wifi(entry.data):
        keys = {one.line: one.key for one in block.entries}
        key = keys.get(problem.line)
        if key == COUNTRY:
            return COUNTRY
        if block.line == problem.line and COUNTRY in problem.message:
            return COUNTRY  # missing; which section it is said of makes no difference
        if block.name != entry.section:
            continue
        if key is not None:
            return PASSWORD if key == PASSWORD else NETWORK
        if block.line == problem.line:
            # Of the section as a whole: something is missing in it.
            words = f"{problem.message} {problem.hint}"
            return next((name for name in (PASSWORD, COUNTRY) if name in words), NETWORK)
    return WHOLE
