"""The first boot stopped at each of its changes: the next ends the same, and no secret is lost."""

from __future__ import annotations

import base64
import errno
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from piot_firstboot import firstboot, journal, passwords, vault
from piot_firstboot.errors import ApplyError
from piot_firstboot.system import Result, System
from tests.kit import faults
from tests.kit.booted import Booted, reboot

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP60Jb5IUMtw4XyjIaeW+nxoJyu2oD9i59eaaXTy6QIa ada@laptop"
# By the name in the store; each appears nowhere else in the file.
SECRETS = {
    "API_KEY": "s3cr3t-value-of-the-api",
    "user.password": "correct horse battery",
    "wifi.password": "garden gate ajar",
    "fallback.wifi_ap_password": "let me in please",
    "health.ping_url": "https://hc.example.org/ping/4f1c0bd3",
    "app.token": "tok-7766554433221100",
}
CONF = f"""\
[device]
hostname = garden
role = gateway
labels = room=kitchen
[user]
name = ada
password = {SECRETS["user.password"]}
authorized_key = {KEY}
[user.bob]
authorized_key = {KEY}
sudo = no
[ssh]
password_login = no
[wifi]
ssid = Garden
password = {SECRETS["wifi.password"]}
country = DE
[ethernet]
address = 192.168.1.20/24
gateway = 192.168.1.1
[time]
ntp = ntp.example.org
[app]
repo = https://git.example.org/ada/garden.git
username = ada
token = {SECRETS["app.token"]}
[health]
ping_url = {SECRETS["health.ping_url"]}
[job.backup]
run = /usr/bin/true
every = 1h
[fallback]
wifi_ap_after = 10min
wifi_ap_password = {SECRETS["fallback.wifi_ap_password"]}
[secrets]
API_KEY = {SECRETS["API_KEY"]}
"""
FILE = "boot/firmware/piot.conf"
OWN_UNITS = Path(__file__).parents[2] / "units"
# The hash that stands for the password: hashing costs a tenth of a second each time.
HASH = "$6$piot$59PKoFhAnuyyskpYt7putpgsjdvC5tErnIIL28amIuOdoLWQRH.cJUh7QdryS58KYBCQaifBZY"
HASH += "wk7fiCko5vW."
# Where a secret must stand for the program that needs it.
MAY = {"wifi.password": "/etc/NetworkManager/system-connections/"}
TRIAL = "/var/lib/piot/network/trial.json"
# Locks and copies of Debian's account tools, and what tells of one run and not of the outcome.
NOT_COMPARED = re.compile(
    r"/run(/|$)|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-$|/etc/\.pwd\.lock"
    r"|/boot/firmware/piot-report\.txt$|/var/lib/piot/report\.json$"
)


def tree(folder: Path) -> Path:
    """Make a small Debian with NetworkManager and an SSH server, before its first boot."""
    root = folder / "device"
    root.mkdir()
    system = System(str(root))
    for table in ("passwd", "group", "shadow", "gshadow"):
        lines = [x for x in Path("/etc", table).read_text().splitlines() if _debian(x)]
        system.write(f"/etc/{table}", "".join(f"{x}\n" for x in lines).encode(), 0o640)
    system.write("/etc/login.defs", b"UID_MIN 1000\nGID_MIN 1000\nUID_MAX 60000\n")
    system.write("/etc/os-release", b"ID=debian\nVERSION_CODENAME=trixie\n")
    system.write("/usr/lib/os-release", b"ID=debian\nVERSION_CODENAME=trixie\n")
    system.write("/etc/hostname", b"raspberrypi\n")
    system.write("/etc/hosts", b"127.0.0.1 localhost\n127.0.1.1 raspberrypi\n")
    system.write("/etc/shells", b"/bin/bash\n")
    for program in ("usr/sbin/visudo", "usr/sbin/NetworkManager", "bin/bash", "usr/bin/true"):
        system.write(f"/{program}", b"", 0o755)
    system.write("/usr/lib/systemd/systemd-timesyncd", b"", 0o755)
    system.write("/boot/firmware/cmdline.txt", b"console=tty1 root=/dev/mmcblk0p2 rootwait\n")
    unit = b"[Service]\nExecStart=/usr/sbin/sshd -D\n[Install]\nWantedBy=multi-user.target\n"
    system.write("/usr/lib/systemd/system/ssh.service", unit)
    for file in filter(Path.is_file, OWN_UNITS.glob("*.[stp]*")):
        system.write(f"/usr/lib/systemd/system/{file.name}", file.read_bytes())
    (root / FILE).write_text(CONF)
    return root


def _debian(line: str) -> bool:
    name, *rest = line.split(":")
    return name in ("root", "sudo", "users", "netdev", "ssh", "nogroup", "nobody") and bool(rest)


class Device(Booted):
    """The device; programs that ask the kernel, or another root, are played."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            root, {"systemd-creds": _creds, "chpasswd": _chpasswd, "sh": _fine, "visudo": _fine}
        )

    def hostname(self) -> str:
        """Return the kernel's host name, which is gone after a reboot."""
        return (self.read("/run/hostname") or b"raspberrypi").decode()

    def set_hostname(self, name: str) -> None:
        """Set it."""
        self.write("/run/hostname", name.encode())


def _fine(system: System, words: list[str], stdin: bytes) -> Result:
    return Result(0, "", "")


def _creds(system: System, words: list[str], stdin: bytes) -> Result:
    """Seal so that the value is not to be seen."""
    if words[0] == "encrypt":
        sealed = base64.b85encode(bytes(byte ^ 0x5A for byte in stdin))
        return Result(0, sealed.decode(), "")
    value = bytes(byte ^ 0x5A for byte in base64.b85decode(stdin))
    return Result(0, base64.b64encode(value).decode(), "")


def _chpasswd(system: System, words: list[str], stdin: bytes) -> Result:
    """Set a hash, as chpasswd(8) does: a new file by rename."""
    name, _, hashed = stdin.decode().strip().partition(":")
    rows = (system.read("/etc/shadow") or b"").decode().splitlines()
    changed = [re.sub(rf"^{name}:[^:]*", f"{name}:{hashed}", row) for row in rows]
    assert changed != rows or f"{name}:{hashed}" in "\n".join(rows)
    system.write("/etc/shadow", "".join(f"{row}\n" for row in changed).encode(), 0o640)
    return Result(0, "", "")


def act(root: Path) -> None:
    """Boot once."""
    # What differs from run to run would hide what matters.
    journal.recent = lambda *args, **named: ()
    secrets.token_hex = lambda nbytes=16: "ab" * (nbytes or 16)
    passwords.make = lambda password: HASH
    passwords.fits = lambda password, hashed: hashed == HASH
    vault._opened.clear()
    try:
        report = firstboot.converge(Device(root), boot=True)
    except (ApplyError, OSError) as error:
        print(f"ended by {type(error).__name__}: {error}")  # as the command line does
    else:
        print(report.text())


def boot_again(root: Path) -> None:
    """Boot as after a power cut."""
    reboot(root)
    act(root)


def start_again(root: Path) -> None:
    """Run again while the machine stays up."""
    act(root)


def kept(root: Path) -> None:
    """Check that each secret stands in the file or in the store, or in both."""
    system = Device(root)
    vault._opened.clear()
    text = (root / FILE).read_bytes()
    for name, value in SECRETS.items():
        right = HASH if name == "user.password" else value
        there = value.encode() in text or vault.get(system, name) == right
        assert there, f"{name} is lost; piot.conf is now\n{text.decode(errors='replace')}"


def judged(undisturbed: Path) -> Callable[[Path], None]:
    """Return the judge: as if nothing had happened."""
    wanted = compared(undisturbed)

    def judge(root: Path) -> None:
        found = compared(root)
        assert found.keys() == wanted.keys(), f"{found.keys() ^ wanted.keys()}"
        for path, entry in wanted.items():
            assert found[path] == entry, f"{path}: {found[path]} is not {entry}"
        kept(root)
        hidden(root)
        text = (root / "boot/firmware/piot-report.txt").read_bytes().decode()
        assert text.startswith("/boot/firmware/piot.conf is applied"), text

    return judge


def compared(root: Path) -> dict[str, faults.Look]:
    """Return what must be the same in the end."""
    found = {p: entry for p, entry in faults.look(root).items() if not NOT_COMPARED.search(p)}
    mode, uid, gid, data = found[TRIAL]
    found[TRIAL] = (mode, uid, gid, re.sub(rb'"started": [\d.]+', b'"started": 0', data))
    return found


def hidden(root: Path) -> None:
    """Check that no secret is to be read where it need not be."""
    for path, (_, _, _, data) in faults.look(root).items():
        for name, value in SECRETS.items():
            if value.encode() in data:
                assert path.startswith(MAY.get(name, "\0")), f"{name} can be read in {path}"


@pytest.fixture
def device(memory: Path) -> tuple[Path, Path]:
    """Return a device before its first boot, and one after an undisturbed one."""
    root = tree(memory)
    done = faults.run(lambda: boot_again(faults.copy(root, memory / "wanted")))
    assert done.code == 0, done.said
    # Not every part of a tree can be right by itself: this is what all the others are held to.
    kept(memory / "wanted")
    hidden(memory / "wanted")
    assert "is applied" in done.said, done.said
    return root, memory / "wanted"


@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 61])
def test_stopped_anywhere_the_next_boot_completes_it(
    device: tuple[Path, Path], memory: Path, step: int, tell: Callable[[str], None]
) -> None:
    root, wanted = device
    matrix = faults.kill(
        root, memory, act, (boot_again,), judged(wanted), step=step, meanwhile=kept
    )
    tell(f"first boot: {matrix}")
    matrix.check()


REFUSALS = {
    "a full boot partition": (errno.ENOSPC, "/boot/firmware"),
    "a read-only boot partition": (errno.EROFS, "/boot/firmware"),
    "a full /var": (errno.ENOSPC, "/var"),
    "a read-only root": (errno.EROFS, "/"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("step", [pytest.param(1, marks=pytest.mark.slow), 61])
def test_a_disk_that_refuses_loses_no_secret(
    device: tuple[Path, Path], memory: Path, name: str, step: int, tell: Callable[[str], None]
) -> None:
    root, wanted = device
    code, below = REFUSALS[name]
    matrix = faults.refuse(
        root,
        memory,
        act,
        boot_again,
        judged(wanted),
        code=code,
        below=below,
        step=step,
        meanwhile=kept,
    )
    tell(f"first boot with {name}: {matrix}")
    matrix.check()
