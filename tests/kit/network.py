"""A network of two: the machine in one namespace, its servers in another, a cable between."""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit import bed
from tests.kit.wait import eventually

SERVER = "10.77.0.1"
MACHINE = "10.77.0.2"
# The names by which the machine knows the server; there is no DNS, so nothing else resolves.
NAMES = ("git.test", "http.test", "other.test")


class Network:
    """Two network namespaces joined by a cable; the addresses are the same in every bed."""

    def __init__(self, folder: Path | None = None) -> None:
        self._own = folder is None
        self.folder = folder or bed.new_bed()
        self.machine = self.folder.name
        self.server = f"{self.folder.name}-s"
        for netns in (self.machine, self.server):
            ip("netns", "add", netns)
        ip(
            "link",
            "add",
            "eth0",
            "netns",
            self.machine,
            "type",
            "veth",
            "peer",
            "eth0",
            "netns",
            self.server,
        )
        for netns, address in ((self.machine, MACHINE), (self.server, SERVER)):
            ip("-n", netns, "link", "set", "lo", "up")
            ip("-n", netns, "address", "add", f"{address}/24", "dev", "eth0")
            ip("-n", netns, "link", "set", "eth0", "up")
        ip("-n", self.machine, "route", "add", "default", "via", SERVER)

    def cut(self) -> None:
        """Pull the cable: the machine loses its carrier."""
        ip("-n", self.server, "link", "set", "eth0", "down")
        eventually(lambda: not self.carrier(), 10, "loss of carrier")

    def restore(self) -> None:
        """Plug the cable in again."""
        ip("-n", self.server, "link", "set", "eth0", "up")
        # The kernel tells of a carrier up to a second late, and drops what is sent before that.
        eventually(self.carrier, 10, "carrier")

    def carrier(self) -> bool:
        """Tell whether the machine sees its cable plugged in."""
        return "LOWER_UP" in ip("-n", self.machine, "-o", "link", "show", "eth0")

    def hosts(self, hostname: str) -> str:
        """Return the /etc/hosts of the machine."""
        # Debian's installer writes 127.0.1.1 too; without it git and sudo ask DNS for that name.
        names = {"127.0.0.1": "localhost", "::1": "localhost ip6-localhost", "127.0.1.1": hostname}
        names[SERVER] = " ".join(NAMES)
        return "".join(f"{address}\t{name}\n" for address, name in names.items())

    def resolv_conf(self) -> str:
        """Return the machine's /etc/resolv.conf: a server that, if reachable, refuses at once."""
        return f"nameserver {SERVER}\n"

    def server_command(self, *argv: str) -> list[str]:
        """Return `argv` wrapped so that it runs on the server's side."""
        return ["nsenter", f"--net=/run/netns/{self.server}", *argv]

    def close(self) -> None:
        """Kill what runs in both namespaces and remove them, unless the bed is kept."""
        if (self.folder / "kept").exists():
            return
        if self._own:
            bed.clear(self.folder)
            return
        for netns in (self.machine, self.server):
            bed.kill_netns(netns)
            ip("netns", "delete", netns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def ip(*argv: str) -> str:
    """Run ip(8) and return what it prints."""
    done = subprocess.run(["ip", *argv], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout
