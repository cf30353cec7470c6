"""Answer the two questions that units ask all day with next to nothing loaded.

Has piot.conf changed since it was applied? Has the branch moved since the last poll? Where the
answer is no, the verb ends here. Whatever is unusual (no stamp, an error, a change) is left to
the verb itself, so a mistake here costs time, never a deploy.

Only what is built into the interpreter is imported: under 1 million instructions, where
subprocess, json or argparse cost 20 to 30 each, `os` 5. tests/unit/test_idle.py holds the line.
"""

import posix
import time

from piot_firstboot import __version__, git, lsrefs, spawn

BOOT_STAMP = "/var/lib/piot/boot.stamp"
REPORT = "/var/lib/piot/report.json"
POLL_STAMP = "/run/piot/poll"  # a directory: one stamp an app, gone with each boot
FALLBACK_DUE = "/run/piot/fallback.due"  # seconds since boot; there while nothing is connected
CLOCK = "piot-clock"  # beside piot.conf: one line, as 2026-11-24T12:00:00Z
CAPTIVE = "/etc/NetworkManager/dnsmasq-shared.d/piot-fallback.conf"  # there while it is open
TRIGGERS = "/run/piot/trigger"  # a directory: one file an app, put there to have it deployed
ANCHORS = "/run/piot/ca"  # a directory: one CA an app
SSH = "/etc/ssh"  # where the SSH server has its host keys
_FOLDERS = ("/boot/firmware", "/boot", "/etc/piot")
_MOST = 1 << 20  # bytes; a film that was called piot.conf must not fill the memory
_PATIENCE = 60  # seconds for the remote's answer


def answers(argv: list[str]) -> bool:
    """Tell whether the command line is a unit's question and the answer is "nothing new"."""
    match argv:
        case ["firstboot"]:
            return unchanged("") and not behind("") and not hollow("")
        case ["deploy", app] if "/" not in app:
            answered(app)
            return unmoved("", app)
        case ["fallback"]:
            return needless("")
    return False


# -- piot.conf ----------------------------------------------------------------------------------


def pick_name(names: list[str]) -> str:
    """Pick the name that is piot.conf's: itself, any letter case, Windows' hidden `.txt`; or ""."""
    found = [name for name in names if name.lower() in ("piot.conf", "piot.conf.txt")]
    return min(found, key=lambda name: (len(name), name != "piot.conf", name), default="")


def conf_path(root: str) -> str:
    """Return where piot.conf lies (without the root), or "" when there is none.

    The boot partition goes before /etc.
    """
    for folder in _FOLDERS:
        try:
            name = pick_name(posix.listdir(root + folder))
        except OSError:
            continue
        if name:
            return f"{folder}/{name}"
    return ""


def boot_stamp(path: str, data: bytes) -> bytes:
    """Return what the stamp holds after this content was applied by this version of PioT."""
    import zlib  # which a poll does not need

    return f"{__version__}\n{path}\n{len(data)} {zlib.crc32(data)}\n".encode()


def unchanged(root: str) -> bool:
    """Tell whether the piot.conf that lies there is the one last applied (or there is none)."""
    path = conf_path(root)
    stamp = _read(root + BOOT_STAMP)
    if not path:
        return not stamp
    data = _read(root + path)
    return bool(stamp) and data is not None and stamp == boot_stamp(path, data)


def hollow(root: str) -> list[str]:
    """List the SSH server's keys that hold nothing but NUL; none where there is no piot.conf."""
    try:
        names = posix.listdir(root + SSH) if conf_path(root) else []
    except OSError:
        return []
    keys = [f"{SSH}/{n}" for n in names if n.startswith("ssh_host_") and n.endswith("_key")]
    held = {key: _read(root + key) for key in sorted(keys)}
    return [key for key, data in held.items() if data is not None and not data.strip(b"\0")]


# -- the clock ----------------------------------------------------------------------------------

# Files that were last written when the clock was right. That of timesyncd is renewed while a time
# server is in reach; so in most boots systemd has raised the clock before PioT looks.
_DATED = ("/var/lib/systemd/timesync/clock", "/var/lib/dpkg/status", BOOT_STAMP, REPORT)
# FAT keeps the local time of the laptop that wrote, which may be 14 hours ahead of UTC.
_LOCAL = ("piot.conf", "piot-report.txt", "cmdline.txt", CLOCK)
_AHEAD = 14 * 3600
LAG = 120  # seconds that the clock may be behind without anything taking offence
_LIFE = 10 * 31557600  # seconds after PioT was made; no Debian release is cared for longer


def behind(root: str) -> bool:
    """Tell whether the clock is so far behind what is known that the verb must raise it."""
    return time.time() + LAG < clock_floor(root)


def clock_floor(root: str, made: float = 0.0) -> float:
    """Return the newest moment that must have passed, in seconds since the epoch; 0 if unknown.

    A date more than ten years after PioT was `made` (its own file, if not given) is a mistake of
    the clock that wrote it, and does not count: a laptop that lives in 2099 must not take the
    device there, where no certificate is valid.
    """
    made = made or modified(__file__)
    moments = [made, _moment(_read(f"{root}/etc/fake-hwclock.data"))]
    moments += [moment for _, moment in dates(root)]
    moments += [_moment(_read(f"{root}{folder}/{CLOCK}")) for folder in _FOLDERS[:2]]
    return max(moment for moment in moments if moment <= made + _LIFE)


def dates(root: str) -> list[tuple[str, float]]:
    """List the files that `clock_floor` goes by, each with the moment that it vouches for."""
    every = [(path, modified(root + path)) for path in _DATED]
    local = [f"{folder}/{name}" for folder in _FOLDERS[:2] for name in _LOCAL]
    return every + [(path, modified(root + path) - _AHEAD) for path in local]


def modified(path: str) -> float:
    """Return when a file was last written; 0 when there is none."""
    try:
        return posix.stat(path).st_mtime
    except OSError:
        return 0.0


def _moment(text: bytes | None) -> float:
    """Read `2026-11-24T12:00:00Z`, or with a blank in the middle; 0 for anything else.

    By hand, because time.strptime loads the regular expressions and calendar the rest.
    """
    try:
        line = (text or b"").decode("ascii").strip().rstrip("Z")
        year, month, day = map(int, line[:10].split("-"))
        hour, minute, second = map(int, line[11:].split(":"))
    except ValueError:
        return 0.0
    if not (1970 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= 31):
        return 0.0
    # Days since the epoch, with years that begin in March.
    year -= month < 3
    past = year * 365 + year // 4 - year // 100 + year // 400
    days = past + (153 * ((month + 9) % 12) + 2) // 5 + day - 1 - 719468
    return float(((days * 24 + hour) * 60 + minute) * 60 + second)


# -- the branch ---------------------------------------------------------------------------------


def poll_stamp(
    url: str,
    ref: str,
    commit: str,
    anchor: str = "",
    *,
    orders: str = "",
    hosts: str = "",
    secret: str = "",
    user: str = "",
) -> bytes:
    """Return a stamp that says: all that `ref` pointing at `commit` asks for has been done.

    `anchor` is the file with the one CA that the server needs; "" trusts all of the system's.
    `orders` are PioT's tags there, `hosts` the file of known_hosts, `secret` the file of the store
    with the key or the token, `user` the name that goes with it.
    """
    words = [__version__, url, ref, commit, anchor, orders, hosts, secret, user, ""]
    return "\n".join(words).encode()


def unmoved(root: str, app: str) -> bool:
    """Ask the remote whether the ref still points where it did at the last poll, and the tags."""
    stamp = (_read(f"{root}{POLL_STAMP}/{app}") or b"").decode("utf-8", "replace").split("\n")
    if len(stamp) != 10 or stamp[0] != __version__:
        return False
    _, url, ref, commit, anchor, orders, hosts, secret, user, _ = stamp
    if not ref:  # a plain commit never moves
        return True
    held = []  # in memory only, and gone with this process
    key = token = trusted = ""
    try:
        if git.kind(url) == "file":
            held.append(_held(git.TRUSTED.encode()))
            trusted = _place(held[0])
        elif secret:
            value = _secret(root + secret)
            if value is None:
                return False
            held.append(_held(git.login(user, value) if user else value))
            key, token = ("", _place(held[0])) if user else (_place(held[0]), "")
        known = root + hosts if hosts else ""
        way = git.reach(url, key=key, hosts=known, token=token, trusted=trusted)
        environment = {**way[1], "GIT_SSL_CAINFO": anchor} if anchor else way[1]
        tips = _tips(url, ref, way[0], environment)
    finally:
        for fd in held:
            posix.close(fd)
    if tips is None:
        return False
    if tips.get(f"{ref}^{{}}", tips.get(ref)) != commit:
        return False
    return git.orders(tips) == orders


def _tips(
    url: str, ref: str, options: tuple[str, ...], environment: dict[str, str]
) -> dict[str, str] | None:
    """Ask the remote for the ref and PioT's tags; None when it does not answer."""
    if url.startswith("http"):
        tips = lsrefs.ask(options, environment, url, git.prefixes(ref), _PATIENCE)
        if not isinstance(tips, str):
            return tips
    asked = ("ls-remote", *git.wanted(ref), "--", url, *git.patterns(ref))
    out = spawn.output(("git", *options, *asked), environment, _PATIENCE)
    if out is None:
        return None
    rows = out.decode("utf-8", "replace").split("\n")
    return dict(line.split("\t")[::-1] for line in rows if "\t" in line)


def _secret(path: str) -> bytes | None:
    """Return a secret of the store; None when it cannot be opened."""
    if not path.endswith(".cred"):
        return _read(path)
    name = path.rpartition("/")[2].removesuffix(".cred")
    return spawn.output(("systemd-creds", "decrypt", f"--name={name}", path, "-"), {}, _PATIENCE)


def _held(data: bytes) -> int:
    """Put bytes where only memory is."""
    fd = posix.memfd_create("piot")
    posix.fchmod(fd, 0o600)  # ssh refuses a key that others could read
    posix.write(fd, data)
    return fd


def _place(fd: int) -> str:
    """Return the path by which git and ssh find an open file of this process."""
    return f"/proc/{posix.getpid()}/fd/{fd}"


def answered(app: str) -> None:
    """Take away the file that triggered this run, so that one put there from now on counts."""
    if _there(f"{TRIGGERS}/{app}"):
        posix.unlink(f"{TRIGGERS}/{app}")


# -- the way out --------------------------------------------------------------------------------


def needless(root: str) -> bool:
    """Tell whether the fallback has nothing to do: there is a way out, or time left to find one."""
    due = fallback_due(root)
    if routed(root):
        return due is None and not _there(root + CAPTIVE)
    return due is not None and time.clock_gettime(time.CLOCK_BOOTTIME) < due


def fallback_due(root: str) -> float | None:
    """Return when the fallback may open its access point; None when that was not set."""
    try:
        return float(_read(root + FALLBACK_DUE) or b"")
    except ValueError:
        return None


def routed(root: str) -> bool:
    """Tell whether there is a default route, v4 or v6; proc_pid_net(5), Linux' route.h."""
    for line in (_read(root + "/proc/net/route") or b"").split(b"\n")[1:]:
        words = line.split()
        # The columns: interface, destination, gateway, flags (up: 1, reject: 0x200), …, mask.
        if len(words) > 7 and words[1] == words[7] == b"00000000" and _usable(words[3]):
            return True
    for line in (_read(root + "/proc/net/ipv6_route") or b"").split(b"\n"):
        words = line.split()
        # Destination, its length, …, flags, interface. Linux has one that rejects, on lo.
        if len(words) > 9 and words[1] == b"00" and words[9] != b"lo" and _usable(words[8]):
            return True
    return False


def _usable(flags: bytes) -> bool:
    """Tell whether a route with these flags is up and leads anywhere."""
    return int(flags, 16) & 0x201 == 1


def _there(path: str) -> bool:
    """Tell whether there is something at a path, be it a link that leads nowhere."""
    try:
        posix.lstat(path)
    except OSError:
        return False
    return True


def _read(path: str) -> bytes | None:
    """Return a file's bytes, at most the first MiB; None where there is none to be read."""
    try:
        fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except OSError:
        return None
    data = b""
    try:
        while len(data) < _MOST and (piece := posix.read(fd, 1 << 16)):
            data += piece
    except OSError:
        return None
    finally:
        posix.close(fd)
    return data
