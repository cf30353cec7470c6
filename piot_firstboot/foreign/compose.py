"""What was carried over from all files → one piot.conf, and the list of what is left to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from piot_firstboot import conftext, settings
from piot_firstboot.conftext import BLANKS, curly
from piot_firstboot.foreign import order, wifinet
from piot_firstboot.foreign.carried import Carried, Entry, Left

_COUNTRY = (
    "# Wi-Fi stays blocked on a Raspberry Pi until the country is known. None of the files names\n"
    "# it: put yours here and remove the # before it.\n"
    "# country = DE\n"
)
_NO_COUNTRY = "add country = … to one [wifi], or a Raspberry Pi keeps Wi-Fi blocked"
# Two ways to say one thing.
_RIVALS = {
    ("user", "password"): "password_hash",
    ("user", "password_hash"): "password",
    ("wifi", "password"): "psk_hex",
    ("wifi", "psk_hex"): "password",
}


@dataclass(slots=True)
class Composed:
    """A piot.conf: its sections in order, each with the values of its keys, and what is left."""

    sections: dict[str, dict[str, list[str]]] = field(default_factory=dict, repr=False)
    left: list[Left] = field(default_factory=list)
    needs_country: bool = False

    def values(self) -> dict[str, dict[str, str | list[str]]]:
        """Return the sections for programs: a list for each key that may be repeated."""
        return {
            section: {
                key: values if key in order.MANY else values[0] for key, values in keys.items()
            }
            for section, keys in self.sections.items()
        }

    def text(self, sources: Iterable[str]) -> str:
        """Write the piot.conf, with what is left as comments at its top."""
        head = [f"# Made by `piot import {' '.join(sources)}`."]
        head.append("# Look it over, then put it on the boot partition as piot.conf.")
        if self.left:
            head += ["#", "# Not carried over:", *(f"#   {left}" for left in self.left)]
        blocks = ["".join(f"{text}\n" for text in head)]
        note = _COUNTRY if self.needs_country else ""
        for section, keys in self.sections.items():
            lines = [f"[{section}]\n"]
            for key, values in keys.items():
                lines += [f"{line(key, value)}\n" for value in values]
            if order.kind(section) == "wifi":
                lines, note = [*lines, note], ""
            blocks.append("".join(lines))
        return "\n".join(blocks)


def compose(files: Iterable[Carried]) -> Composed:
    """Join what was carried over; the first file that says something wins."""
    work = _Work()
    for file in files:
        work.take(file)
    work.place()
    kept, left = work.kept, work.left
    for section in [name for name in kept if not kept[name] and order.kind(name) != "user"]:
        del kept[section]
    wireless = [name for name in kept if order.kind(name) == "wifi"]
    needs_country = bool(wireless) and not any("country" in kept[name] for name in wireless)
    if needs_country:
        left.append(Left(work.origin[wireless[0]], 0, "country", _NO_COUNTRY))
    places = {source: number for number, source in enumerate(work.sources)}
    left.sort(key=lambda item: (places[item.source], item.line))
    return Composed(_ordered(kept), left, needs_country)


def line(key: str, value: str) -> str:
    """Write one line, with quotes where blanks or quotes at the ends would be lost."""
    odd = value.strip(BLANKS) != value or value[:1] in ("'", '"') or value[-1:] in ("'", '"')
    return f'{key} = "{value}"' if odd or curly(value) or not value else f"{key} = {value}"


@dataclass(slots=True)
class _Work:
    """The sections while they are joined: their values, and the file that each came from first.

    `refused` are those that nothing is carried over of, because their name is not possible.
    """

    kept: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    refused: set[tuple[str, str]] = field(default_factory=set)
    anywhere: list[tuple[str, Entry]] = field(default_factory=list)

    def take(self, file: Carried) -> None:
        """Take what was carried over from one file."""
        self.sources.append(file.source)
        self.left += file.left
        renamed = self._renamed(file)
        for entry in file.entries:
            if entry.section == "wifi.*":
                self.anywhere.append((file.source, entry))
                continue
            self._add(file.source, renamed.get(entry.section, entry.section), entry)

    def place(self) -> None:
        """Put what is about Wi-Fi as a whole into the first network."""
        first = next((name for name in self.kept if order.kind(name) == "wifi"), "")
        for source, entry in self.anywhere:
            if first:
                self._add(source, first, entry)
            else:
                why = "no Wi-Fi network is named; add [wifi] with ssid = … and this"
                self.left.append(Left(source, entry.line, entry.key, why))

    def _renamed(self, file: Carried) -> dict[str, str]:
        """Find new names for sections whose names an earlier file has for other things."""
        renamed: dict[str, str] = {}
        own = {entry.section for entry in file.entries}
        taken = {name.partition(".")[2] for name in (*self.kept, *own)}
        for entry in file.entries:
            section, key = entry.section, entry.key
            there = self.kept.get(section)
            if there is None or key not in ("ssid", "ssid_hex", "name"):
                continue
            if key == "name":
                if section == "user" and there.get("name") != [entry.value]:
                    renamed[section] = f"user.{entry.value}"
            elif there.get(key) != [entry.value]:
                renamed[section] = f"wifi.{wifinet.free_name(section.partition('.')[2], taken)}"
        return renamed

    def _add(self, source: str, section: str, entry: Entry) -> None:
        """Add one value, unless a piot.conf does not take it or another one was first."""
        if (source, section) in self.refused:
            return
        kind, names = order.kind(section), entry.key in ("name", "ssid", "ssid_hex")
        why = _reason_against(kind, entry) or (self._same(section, entry) if names else "")
        if why:
            self.left.append(Left(source, entry.line, f"[{kind}] {entry.key}", why))
            if names:
                self.refused.add((source, section))
            elif kind == "wifi" and entry.key in ("password", "psk_hex"):
                # Without it the network would be taken for an open one.
                self.kept.setdefault(section, {}).setdefault("security", ["wpa2"])
            return
        self.origin.setdefault(section, source)
        values = self.kept.setdefault(section, {})
        if entry.key == "name" and section != "user":
            return  # the header says it
        rival = _RIVALS.get((kind, entry.key), "")
        there = values.get(entry.key) or values.get(rival)
        if there is None or (entry.key in order.MANY and entry.value not in there):
            values.setdefault(entry.key, []).append(entry.value)
        elif entry.value not in there:
            why = "another place says something else, which was taken"
            self.left.append(Left(source, entry.line, f"[{kind}] {entry.key}", why))

    def _same(self, section: str, entry: Entry) -> str:
        """Say that a network of this name has a section already, or nothing."""
        for name, values in self.kept.items():
            if name != section and entry.key != "name" and values.get(entry.key) == [entry.value]:
                return "a network of this name was there before; the first was taken"
        return ""


def _reason_against(kind: str, entry: Entry) -> str:
    """Say why a value cannot stand in a piot.conf, or nothing."""
    row = settings.keys(kind)[entry.key]
    if row.sensitivity != "secret" and not entry.value.isprintable():
        return "an invisible character is in it; type it anew"
    if not _comes_back(entry):
        return "it has characters that cannot stand in a piot.conf; choose another"
    try:
        row.parse(entry.value)
    except ValueError as error:
        hint = getattr(error, "hint", "")
        return f"{error}; {hint}" if hint else str(error)
    return ""


def _comes_back(entry: Entry) -> bool:
    """Tell whether a line says just this value when it is read again."""
    controls = any(ord(c) < 32 and c != "\t" or ord(c) == 127 for c in entry.value)
    if not entry.value or controls or entry.value.startswith("@stored"):
        return False
    try:
        data = f"[x]\n{line(entry.key, entry.value)}\n".encode()
        _, blocks = conftext.read(data)
    except (UnicodeEncodeError, conftext.NotText):
        return False
    read = [(e.key, e.value) for block in blocks for e in block.entries]
    return read == [(entry.key, entry.value)] and not any(block.flaws for block in blocks)


def _ordered(kept: dict[str, dict[str, list[str]]]) -> dict[str, dict[str, list[str]]]:
    """Sort sections and keys as the contract lists them; a lone network needs no NAME."""
    found: dict[str, dict[str, list[str]]] = {}
    for kind, keys in order.KEYS.items():
        mine = [name for name in kept if order.kind(name) == kind]
        for name in mine:
            alone = len(mine) == 1 and kind in ("wifi", "ethernet")
            found[kind if alone else name] = {
                key: kept[name][key] for key in keys if key in kept[name]
            }
    return found
