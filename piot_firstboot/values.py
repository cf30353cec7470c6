"""What the values of piot.conf may be: each function takes the text and returns the value.

They raise BadValue (or any ValueError) with a message for people. No message repeats a secret.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

from piot_firstboot.schedule import span_seconds

_WORDS = {
    **dict.fromkeys(("yes", "on", "true", "1"), True),
    **dict.fromkeys(("no", "off", "false", "0"), False),
}
PLACEHOLDERS = ("serial", "serial8", "mac", "mac6", "model")
# As long as they get on a Raspberry Pi: 64-bit serial number, 48-bit MAC; a model may be cut.
_SAMPLES = {"serial": "0" * 16, "serial8": "0" * 8, "mac": "0" * 12, "mac6": "0" * 6, "model": "m"}
MIN_POLL = 10.0  # seconds; below it a poll would hardly end before the next one
MAX_SECRET = 32 * 1024
MIN_PASSWORD = 8
MAX_PASSWORD = 511  # bytes; CRYPT_MAX_PASSPHRASE_SIZE of crypt(3), without its end

# adduser(8) on Bookworm, NAME_REGEX, the strictest of useradd and adduser on both releases;
# useradd there takes 32 characters.
_USER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
# Users and groups of a fresh Debian and Raspberry Pi OS: useradd refuses a user whose group
# exists, and changing a system account would open it for logins.
_TAKEN = frozenset(
    "adm audio avahi backup bin cdrom crontab daemon dhcpcd dialout dip disk dnsmasq fax floppy "
    "games gpio i2c input irc kmem kvm list lp lpadmin mail man messagebus netdev news nobody "
    "nogroup operator plugdev polkitd proxy render sasl sgx shadow spi src sshd staff statd sudo "
    "sync sys tape tcpdump tty users utmp uucp uuidd video voice www-data".split()
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_HASH_HINT = "make one with `mkpasswd` (package whois) or `openssl passwd -6`"
# crypt(5), "Hashed passphrase format" of each method: how it begins, the rest, the digest's length.
_B64 = "[./0-9A-Za-z]"
_HASHES: dict[str, tuple[str, int]] = {
    "$y$": (rf"{_B64}+\${_B64}{{0,86}}\$", 43),
    "$gy$": (rf"{_B64}+\${_B64}{{0,86}}\$", 43),
    "$7$": (rf"{_B64}{{11,97}}\$", 43),
    "$6$": (r"(?:rounds=[1-9][0-9]+\$)?[^$:\s]{1,16}\$", 86),
    "$5$": (r"(?:rounds=[1-9][0-9]+\$)?[^$:\s]{1,16}\$", 43),
    **dict.fromkeys(("$2b$", "$2a$", "$2y$"), (r"[0-9]{2}\$", 53)),
}


class BadValue(ValueError):
    """A value that a key cannot take; `hint` says what to write instead.

    With `secret` set the value holds something that must not be shown, whatever its key.
    """

    def __init__(self, message: str, hint: str = "", *, secret: bool = False) -> None:
        """Keep hint and secrecy beside the message."""
        self.hint = hint
        self.secret = secret
        super().__init__(message)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the known word that was probably meant, or nothing."""
    lowered = {name.lower(): name for name in sorted(known)}
    close = difflib.get_close_matches(word.lower()[:80], lowered, 1, 0.65)
    # Of a path, such as the name of a time zone, people know the end.
    ends = [name for name in lowered if name.endswith(f"/{word.lower()}")]
    return lowered[(ends or close)[0]] if ends or close else ""


def boolean(text: str) -> bool:
    """Read yes/no, on/off, true/false, 1/0, in any letter case."""
    if text.lower() not in _WORDS:
        raise BadValue("this is neither yes nor no", "write yes or no")
    return _WORDS[text.lower()]


def sudo(text: str) -> str:
    """Read how a person may become root: no, password or nopasswd."""
    word = text.lower()
    if word in ("no", "password", "nopasswd"):
        return word
    # `yes` leaves open what it costs to be root, and a typo must not decide that.
    best = "password or nopasswd" if _WORDS.get(word) else ""
    best = best or suggest(text, ("no", "password", "nopasswd"))
    raise BadValue("this is not no, password or nopasswd", f"write {best}" if best else "")


def hostname(text: str) -> str:
    """Read a host name (RFC 1123; hostname(7): 64 characters) with placeholders in braces."""
    for brace in re.findall(r"\{[^{}]*\}?|\}", text):
        if brace[1:-1] not in PLACEHOLDERS or brace[-1] != "}":
            best = suggest(brace.strip("{}"), PLACEHOLDERS)
            known = " ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise BadValue(
                f"{brace[:30]} is not a placeholder",
                f"did you mean {{{best}}}?" if best else f"there are {known}",
            )
    name = text.format(**_SAMPLES)
    if name.lower().endswith(".local"):
        raise BadValue(
            "a host name does not carry .local itself", f"write {text[:-6]}; mDNS adds .local"
        )
    if name.lower() == "localhost":
        raise BadValue("localhost is every device's name for itself", "choose another name")
    if len(name) > 64:
        raise BadValue(f"a host name has at most 64 characters, this one {len(name)}")
    for label in name.split("."):
        if not label or len(label) > 63:
            raise BadValue("each part of a host name has 1 to 63 characters")
        odd = re.search(r"[^A-Za-z0-9-]", label)
        if odd:
            plain = unicodedata.normalize("NFKD", text)  # ä is then an a, and dots
            plain = "".join(char for char in plain if not unicodedata.combining(char))
            better = re.sub(r"[^A-Za-z0-9{}.-]+", "-", plain).strip("-.")
            hint = f"write {better}" if better.strip("{}-.") else ""
            char = "a blank" if odd[0].isspace() else repr(odd[0])
            raise BadValue(f"a host name has letters, digits and hyphens, not {char}", hint)
        if label[0] == "-" or label[-1] == "-":
            raise BadValue("a host name neither begins nor ends with a hyphen")
    if "." in name and name.rpartition(".")[2].isdigit():
        raise BadValue("this is an address, not a host name")
    return text


def timezone(text: str) -> str:
    """Read the name of a zone in the tz database; whether it exists is known on the device."""
    part = r"[A-Za-z0-9][A-Za-z0-9_+-]*"
    if len(text) > 64 or not re.fullmatch(rf"{part}(/{part}){{0,2}}", text):
        better = re.sub(r"[\s\\]+", lambda m: "/" if "\\" in m[0] else "_", text)
        good = len(text) <= 64 and re.fullmatch(rf"{part}(/{part}){{0,2}}", better)
        raise BadValue(
            "this is not the name of a time zone",
            f"did you mean {better}?" if good else "write it like Europe/Berlin",
        )
    return text


def password_hash(text: str) -> str:
    """Read a password in crypt(5) format; `!` and `*` mean that no password fits.

    Only methods that resist guessing: yescrypt, gost-yescrypt, scrypt, SHA-512, SHA-256, bcrypt.
    """
    locked = text.lstrip("!")
    if text and locked in ("", "*"):
        return text
    prefix = next((prefix for prefix in _HASHES if locked.startswith(prefix)), None)
    if prefix is None:
        weak = re.match(r"\$(1|md5|sha1|3)[$,]|_[./0-9A-Za-z]{19}$", locked)
        if weak:
            raise BadValue("this hash is of a kind that is easily broken", _HASH_HINT)
        raise BadValue("this is not a password hash, as it does not begin like one", _HASH_HINT)
    middle, length = _HASHES[prefix]
    match = re.fullmatch(f"{re.escape(prefix)}{middle}({_B64}*)", locked)
    if not match:
        raise BadValue(f"this {prefix} hash is damaged", f"copy it again, or {_HASH_HINT}")
    if len(match[1]) != length:
        raise BadValue(
            f"a {prefix} hash ends in {length} characters, this one in {len(match[1])}",
            "it was cut off or something was added; copy it again",
        )
    return text


def login_password(text: str) -> str:
    """Take the password of a person's account."""
    if re.match(r"\$[0-9a-z]{1,3}\$\S{20}", text):
        raise BadValue("this is a hash, not a password", "write password_hash = …")
    if len(text) < MIN_PASSWORD:
        raise BadValue(f"a password has at least {MIN_PASSWORD} characters", "choose a longer one")
    if len(text.encode()) > MAX_PASSWORD:
        raise BadValue(f"a password has at most {MAX_PASSWORD} bytes")
    return text


def usable_hash(text: str | None) -> bool:
    """Tell whether a password can fit this hash, so that one can log in with it."""
    return text is not None and text.startswith("$")


def user_name(text: str) -> str:
    """Read the name of a person's account, as adduser takes it on Debian."""
    if text == "root":
        raise BadValue(
            "root is not a person's account", "name a user of your own; `sudo` makes it root"
        )
    if text in _TAKEN or re.match(r"(piot|systemd)(-|$)", text):
        raise BadValue(f"{text} is an account or group of the system itself", "choose another name")
    if not _USER.fullmatch(text):
        lower = text.lower()
        hint = f"did you mean {lower}?" if lower != text and _USER.fullmatch(lower) else ""
        raise BadValue(
            "a user name has lower-case letters, digits, `-` and `_`, begins with a letter "
            "and has at most 32 characters",
            hint,
        )
    return text


def key_source(text: str) -> str:
    """Read where someone publishes their keys: gh:NAME or lp:NAME."""
    name = r"[A-Za-z0-9](?:[A-Za-z0-9+-]|\.(?!\.)){0,38}"
    if re.fullmatch(rf"(gh|lp):{name}", text):
        return text
    hint = "write gh:NAME for GitHub, or lp:NAME for Launchpad"
    for service, host in (("gh", "github"), ("lp", "launchpad")):
        meant = (
            rf"(?:(?:https?://)?(?:www\.)?{host}(?:\.com|\.net)?[:/]~?|{service} *:? *)({name})/?"
        )
        if match := re.fullmatch(meant, text, re.I):
            hint = f"write {service}:{match[1].removesuffix('.keys')}"
    raise BadValue("this is not the name of someone who publishes keys", hint)


def group_name(text: str) -> str:
    """Read the name of a group; whether there is one is known on the device."""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", text):
        hint = "one group a line: groups = gpio" if re.search(r"[\s,]", text) else ""
        raise BadValue("this is not the name of a group", hint)
    return text


def shell(text: str) -> str:
    """Read the path of a program; whether it may be a shell is known on the device."""
    if not re.fullmatch(r"/[A-Za-z0-9/._+-]{1,100}", text):
        raise BadValue("this is not the path of a program", "write it like /bin/bash")
    return text


def port(text: str) -> int:
    """Read the number of a TCP port."""
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise BadValue("a port has a number from 1 to 65535")
    return int(text)


def poll(text: str) -> float | None:
    """Read how often to look for a new commit, in seconds; None for `off`."""
    if text.lower() == "off":
        return None
    try:
        seconds = span_seconds(text)
    except ValueError as problem:
        hint = "write a time span such as 5min or 1h, or off"
        raise BadValue(str(problem), hint) from None
    if seconds < MIN_POLL:
        raise BadValue(f"this must be at least {MIN_POLL:.0f}s", "write 10s or more, or off")
    return seconds


def secret_name(text: str) -> str:
    """Read the name of a secret; it becomes a credential's and a variable's name."""
    if not _VARIABLE.fullmatch(text):
        better = re.sub(r"[ .-]", "_", text)
        raise BadValue(
            "the name of a secret has letters, digits and `_`, does not begin with a digit "
            "and has at most 64 characters",
            f"write {better}" if _VARIABLE.fullmatch(better) else "",
        )
    return text


def secret(text: str) -> str:
    """Take a secret as it stands."""
    if len(text.encode()) > MAX_SECRET:
        raise BadValue(f"a secret has at most {MAX_SECRET // 1024} KiB")
    return text
