"""Two Ethernet networks: a machine with eth0 and eth1, and a router of its own behind each."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit import bed
from tests.kit.network import Network, ip
from tests.kit.wait import eventually

# DHCP gives out .100 to .199 of these, and advertises fd77::/64 or fd78::/64.
ROUTERS = {
    "eth0": ("10.77.0.1", "fd77::1"),
    "eth1": ("10.78.0.1", "fd78::1"),
}
NAME = "app.test"  # what each router's DNS knows itself by; /etc/hosts does not


class Router:
    """What stands at the far end of one cable: gateway, DHCP for v4 and v6, DNS, a TCP server."""

    def __init__(self, folder: Path, machine: str, netns: str, interface: str) -> None:
        self.machine = machine
        self.netns = netns
        self.interface = interface
        self.address, self.address6 = ROUTERS[interface]
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def serve(self) -> None:
        """Give out addresses and names until silence()."""
        range4 = f"{self.address[:-1]}100,{self.address[:-1]}199,1h"
        range6 = f"{self.address6[:-1]}1000,{self.address6[:-1]}1fff,slaac,1h"
        argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root"]
        argv += ["--no-resolv", "--no-hosts", "--no-ping", "--bind-interfaces", "--enable-ra"]
        argv += ["--interface=eth0", f"--dhcp-range={range4}", f"--dhcp-range={range6}"]
        argv += [f"--address=/{NAME}/{self.address}", f"--address=/{NAME}/{self.address6}"]
        argv += [f"--dhcp-leasefile={self._folder}/{self.interface}.leases", "--log-facility=-"]
        self._start("dnsmasq", argv, 67)

    def silence(self) -> None:
        """Give out nothing more."""
        self._stop("dnsmasq")

    def listen(self, port: int = 80) -> None:
        """Accept connections at a port, on v4 and v6, until deafen()."""
        serve = f"s = socket.create_server(('', {port}), family=socket.AF_INET6, "
        serve += "dualstack_ipv6=True)\nwhile True: s.accept()[0].close()"
        self._start("listener", ["/usr/bin/python3", "-c", f"import socket; {serve}"], port)

    def deafen(self) -> None:
        """Refuse connections."""
        self._stop("listener")

    def cut(self) -> None:
        """Pull the cable."""
        ip("-n", self.netns, "link", "set", "eth0", "down")

    def restore(self) -> None:
        """Plug the cable in again."""
        ip("-n", self.netns, "link", "set", "eth0", "up")
        add = ("address", "replace", f"{self.address6}/64", "dev", "eth0", "nodad")
        ip("-n", self.netns, *add)  # the kernel drops v6 addresses with the link

    def stop(self) -> None:
        """End everything that runs here."""
        for name in tuple(self._running):
            self._stop(name)

    def _start(self, name: str, argv: list[str], port: int) -> None:
        """Start a program here and wait until it listens."""
        self._stop(name)
        log = (self._folder / f"{self.interface}.{name}.log").open("ab")
        with log:
            self._running[name] = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.netns}", *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        show = ["nsenter", f"--net=/run/netns/{self.netns}", "ss", "-Hlntu"]
        eventually(
            lambda: f":{port} " in subprocess.run(show, capture_output=True, text=True).stdout,
            10,
            f"{name} at port {port}",
        )

    def _stop(self, name: str) -> None:
        """End one of the programs that run here."""
        if process := self._running.pop(name, None):
            process.kill()
            process.wait(10)


class Lan:
    """Two cables out of one machine. `network` is what the Machine is made with."""

    def __init__(self) -> None:
        self.network = Network()
        self.folder = self.network.folder
        machine, other = self.network.machine, f"{self.folder.name}-t"
        ip("netns", "add", other)
        end = ("type", "veth", "peer", "eth0", "netns", other)
        ip("link", "add", "eth1", "netns", machine, *end)
        self.one = Router(self.folder, machine, self.network.server, "eth0")
        self.two = Router(self.folder, machine, other, "eth1")
        ip("-n", other, "link", "set", "lo", "up")
        ip("-n", other, "address", "add", f"{self.two.address}/24", "dev", "eth0")
        for router in (self.one, self.two):
            router.restore()
        self.unplug_power()

    def unplug_power(self) -> None:
        """Take from the machine's interfaces what the kernel forgets when the power goes."""
        netns = self.network.machine
        for line in ip("-n", netns, "-o", "link", "show").splitlines():
            name = line.split(": ")[1].partition("@")[0]
            if name not in (*ROUTERS, "lo"):
                ip("-n", netns, "link", "delete", name)
        for name in ROUTERS:
            ip("-n", netns, "address", "flush", "dev", name)
            ip("-n", netns, "link", "set", name, "down")

    def close(self) -> None:
        """End the servers and remove the namespaces."""
        for router in (self.one, self.two):
            router.stop()
        bed.clear(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
