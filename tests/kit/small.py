"""The tree of a small Debian, in which whole verbs work: accounts, SSH, a boot partition."""

from __future__ import annotations

from pathlib import Path

from piot_firstboot.system import System


class Tree:
    """The tree of a small Debian, with the tables of accounts that its tools need."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.system = System(str(root))
        for table in ("passwd", "group", "shadow", "gshadow"):
            lines = [x for x in Path("/etc", table).read_text().splitlines() if _debian(x)]
            self.system.write(f"/etc/{table}", "".join(f"{x}\n" for x in lines).encode(), 0o640)
        self.system.write("/etc/login.defs", b"UID_MIN 1000\nGID_MIN 1000\nUID_MAX 60000\n")
        self.system.write("/etc/hosts", b"127.0.0.1 localhost\n127.0.1.1 raspberrypi\n")
        self.system.mkdir("/boot/firmware")
        self.system.write("/usr/sbin/visudo", b"", 0o755)
        unit = b"[Service]\nExecStart=/usr/sbin/sshd -D\n[Install]\nWantedBy=multi-user.target\n"
        self.system.write("/usr/lib/systemd/system/ssh.service", unit)

    def conf(self, text: str) -> None:
        """Write piot.conf as a person would."""
        (self.root / "boot/firmware/piot.conf").write_text(text)

    def read(self, path: str) -> str:
        """Read a file of the tree."""
        return (self.root / path).read_text()

    def state(self) -> dict[str, int]:
        """Return when each file was last written."""
        return {str(p): p.lstat().st_mtime_ns for p in self.root.rglob("*") if p.name != "run"}


def _debian(line: str) -> bool:
    name, *rest = line.split(":")
    return name in ("root", "sudo", "users", "shadow", "ssh", "nogroup", "nobody") and bool(rest)
