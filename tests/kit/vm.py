"""A Debian machine in QEMU with a disk of its own, whose power can really be cut.

A killed container keeps every byte that a process wrote; here, what the guest had only in memory
is gone, as with a plug that is pulled. It has a clock of its own, which can be set, real memory and
CPU controllers, and a USB port. The disk has a partition table, FAT32 for /boot/firmware and ext4
for /, made without mounting anything. The guest sees no network but `git daemon` on this host's
repositories, and one server of the test's own. There is no KVM here, so a boot takes half a minute.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.kit import roots
from tests.kit.git_repo import Repo
from tests.kit.wait import eventually

_TOOLS = ("initramfs-tools", "udev", "kmod", "e2fsprogs", "dosfstools")
LAYER = ("linux-image-cloud-amd64", *_TOOLS)
USB_LAYER = ("linux-image-amd64", *_TOOLS)  # the kernel above knows no USB
GIT = "10.0.2.100"  # git daemon, as the guest sees it
HTTPS = "10.0.2.101"  # what `served` says, at port 443
BOOT_SECONDS = 600  # ten times what a calm host needs
_MIB = 1024 * 1024
_FAT_MIB, _ROOT_MIB = 64, 2048
_FAT_AT, _ROOT_AT = _MIB, (1 + _FAT_MIB) * _MIB
_SECTOR = 512

# Runs in the guest: takes a line with a command, gives a line with what it printed.
_AGENT = """\
import json, subprocess
def tell(what):
    data = json.dumps(what).encode() + b"\\n"
    while data:  # the port takes 32 KiB at a time
        data = data[port.write(data):]
with open("/dev/virtio-ports/agent", "r+b", buffering=0) as port:
    tell({"up": True})
    for line in iter(lambda: port.readline(), b""):
        ask = json.loads(line)
        ask["input"] = ask["input"].encode()
        try:
            done = subprocess.run(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", **ask)
            code, out = done.returncode, done.stdout
        except subprocess.TimeoutExpired as error:
            code, out = 124, error.stdout or b""
        tell({"code": code, "out": out.decode("utf-8", "replace")})
"""
_AGENT_UNIT = """\
[Unit]
DefaultDependencies=no
After=systemd-udevd.service
BindsTo=dev-virtio\\x2dports-agent.device
After=dev-virtio\\x2dports-agent.device
[Service]
ExecStart=/usr/bin/python3 -IS /opt/agent.py
OOMScoreAdjust=-1000
[Install]
WantedBy=sysinit.target
"""
# Joins standard input and output, a connection of the guest's, to a port of this host.
_RELAY = """\
import os, select, socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as server:
    server.settimeout(None)
    open_ends = [0, server.fileno()]
    while open_ends:
        for end in select.select(open_ends, (), ())[0]:
            data = os.read(end, 65536)
            if not data:
                open_ends.remove(end)
                if end:
                    sys.exit()
                server.shutdown(socket.SHUT_WR)
            elif end:
                os.write(1, data)
            else:
                server.sendall(data)
"""
# Half of a boot without KVM goes into what no test here looks at.
_NOT_NEEDED = (
    "getty@tty1.service serial-getty@ttyS0.service systemd-hwdb-update.service "
    "systemd-update-utmp.service systemd-binfmt.service sys-kernel-debug.mount "
    "sys-kernel-tracing.mount dev-hugepages.mount dev-mqueue.mount modprobe@drm.service"
).split()
_NETWORK = "[Match]\nName=en*\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
_FSTAB = """\
/dev/vda2 / ext4 rw,noatime 0 1
/dev/vda1 /boot/firmware vfat rw,noatime 0 2
"""


class CutOff(AssertionError):
    """The guest did not answer."""


class Vm:
    """A virtual machine on a disk image, off until boot(). close() leaves nothing running."""

    def __init__(self, folder: Path, disk: Path) -> None:
        self.folder = folder
        self.disk = disk
        self.recovered = folder / "recovered.img"
        self.console = folder / "console.log"
        self.boots = 0
        self.served = 0  # the port on this host's loopback that the guest finds at HTTPS
        self._qemu: subprocess.Popen[bytes] | None = None
        self._agent: socket.socket | None = None
        self._rest = b""

    # -- power ---------------------------------------------------------------------------------

    def boot(self, timeout: float = BOOT_SECONDS, *, clock: str = "") -> Self:
        """Switch on; return when the guest answers. Its hardware clock is right, unless given."""
        assert self._qemu is None, "already on"
        at = self.folder / "agent.sock"
        for path in (at, self._monitor):
            path.unlink(missing_ok=True)
        with self.console.open("ab") as log:
            self._qemu = subprocess.Popen(
                [*self._command(at), *(("-rtc", f"base={clock}") if clock else ())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.boots += 1
        until = time.monotonic() + timeout
        eventually(at.exists, 60, "QEMU")
        self._agent = socket.socket(socket.AF_UNIX)
        self._agent.connect(str(at))
        self._rest = b""
        self._line(until)
        return self

    def kill(self) -> None:
        """Cut the power: what the guest had not yet written to its disk is lost."""
        if self._qemu is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._qemu.pid, signal.SIGKILL)
        self._qemu.wait(30)
        self._qemu = None
        if self._agent:
            self._agent.close()
            self._agent = None

    def poweroff(self, timeout: float = 600) -> None:
        """Shut down in order."""
        assert self._qemu
        self.run("systemctl --no-block poweroff")
        try:
            self._qemu.wait(timeout)
        finally:
            self.kill()

    def ask_qemu(self, command: str, **arguments: Any) -> None:
        """Let QEMU itself do something to the machine: a command of its QMP."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(30)
            line.connect(str(self._monitor))
            with line.makefile("rw") as talk:
                talk.readline()  # it says hello
                for execute, words in (("qmp_capabilities", {}), (command, arguments)):
                    text = json.dumps({"execute": execute, "arguments": words})
                    print(text, file=talk, flush=True)
                    answer: dict[str, Any] = {"event": ""}
                    while "event" in answer:
                        answer = json.loads(talk.readline())
                    assert "return" in answer, f"{execute} {words}: {answer}"

    @property
    def _monitor(self) -> Path:
        """Return where QEMU listens."""
        return self.folder / "monitor.sock"

    def _command(self, agent: Path) -> list[str]:
        """Return how QEMU is called."""
        daemon = f"git daemon --inetd --export-all --base-path={self.folder / 'repositories'}"
        network = f"user,id=net,restrict=on,guestfwd=tcp:{GIT}:9418-cmd:{daemon}"
        if self.served:
            relay = self.folder / "relay.py"
            relay.write_text(_RELAY)
            to_it = f"/usr/bin/python3 -IS {relay} {self.served}"
            network += f",guestfwd=tcp:{HTTPS}:443-cmd:{to_it}"
        words = "root=/dev/vda2 rw console=ttyS0 loglevel=4 panic=1 mitigations=off audit=0"
        return [
            "qemu-system-x86_64",
            *"-accel tcg,thread=multi -M q35 -cpu max -smp 2 -m 768".split(),
            *"-display none -monitor none -serial stdio -no-reboot".split(),
            *("-kernel", str(self.folder / "vmlinuz"), "-initrd", str(self.folder / "initrd")),
            *("-append", words),
            # This host's own page cache outlives QEMU, so it need not be flushed for the guest.
            *("-drive", f"file={self.disk},format=raw,if=virtio,cache=unsafe"),
            *("-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile="),
            *("-chardev", f"socket,id=agent,path={agent},server=on,wait=off"),
            *("-device", "virtio-serial", "-device", "virtserialport,chardev=agent,name=agent"),
            *("-object", "rng-random,id=rng,filename=/dev/urandom"),
            *("-device", "virtio-rng-pci,rng=rng"),
            *("-device", "qemu-xhci,id=usb"),
            *("-qmp", f"unix:{self._monitor},server=on,wait=off"),
        ]

    # -- inside --------------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str] | str,
        *,
        check: bool = True,
        timeout: float = 300,
        input: str = "",
        env: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        """Run a command in the guest, a string by sh; return its exit code and all it printed."""
        assert self._agent, "the machine is off"
        command = ["/bin/sh", "-c", argv] if isinstance(argv, str) else list(argv)
        variables = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **(env or {})}
        ask = {"args": command, "input": input, "timeout": timeout, "env": variables}
        self._agent.sendall(json.dumps(ask).encode() + b"\n")
        told = self._line(time.monotonic() + timeout + 30)
        if check and told["code"]:
            raise AssertionError(f"{argv!r}: exit {told['code']}\n{told['out']}")
        return int(told["code"]), str(told["out"])

    def sh(self, script: str, *, timeout: float = 300) -> str:
        """Run a shell script in the guest; return what it printed, without the last newline."""
        return self.run(script, timeout=timeout)[1].rstrip("\n")

    def write(self, path: str, text: str) -> None:
        """Write a file in the guest."""
        data = base64.b64encode(text.encode()).decode()
        self.run(["sh", "-c", 'base64 -d >"$0"', path], input=data)

    def up(self, timeout: float = BOOT_SECONDS) -> str:
        """Wait until the boot is finished; return systemd's word for it."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            state = self.run("systemctl is-system-running", check=False)[1].strip()
            if state in ("running", "degraded", "maintenance"):
                return state
            time.sleep(0.3)
        raise CutOff(f"still {state!r} after {timeout:g} s\n{self.diagnosis()}")

    def diagnosis(self) -> str:
        """Return what one needs to see when something went wrong."""
        said = ""
        if self._agent:
            script = "systemctl --failed --no-legend --plain; journalctl -b -n 100 --no-pager"
            with suppress(AssertionError, OSError):
                said = self.run(script, check=False, timeout=30)[1]
        return f"{said}\nconsole:\n" + "\n".join(self._console()[-25:])

    def _console(self) -> list[str]:
        return self.console.read_text(errors="replace").splitlines()

    def _line(self, until: float) -> dict[str, Any]:
        """Read one answer."""
        assert self._agent and self._qemu
        while b"\n" not in self._rest:
            left = until - time.monotonic()
            if left <= 0 or self._qemu.poll() is not None:
                end = "\n".join(self._console()[-25:])
                raise CutOff(f"no answer from the guest; its console:\n{end}")
            self._agent.settimeout(min(left, 1.0))
            try:
                self._rest += self._agent.recv(65536)
            except TimeoutError:
                continue
        line, _, self._rest = self._rest.partition(b"\n")
        found: dict[str, Any] = json.loads(line)
        return found

    # -- the disk while it is off --------------------------------------------------------------

    def check_disk(self) -> str:
        """Recover both file systems as a boot would, on a copy, and return what is still wrong."""
        part = self.recovered
        _cut_out(self.disk, part, _FAT_AT, _FAT_MIB)
        # A FAT has no journal: the boot mends it. 1 says that it did.
        _tool("fsck.fat", "-a", "-w", str(part), fine=(0, 1))
        fat = _tool("fsck.fat", "-n", str(part), fine=(0, 1))
        fat = "" if "Leaving filesystem unchanged" not in fat else fat
        _cut_out(self.disk, part, _ROOT_AT, _ROOT_MIB)
        # As a boot does: replays the journal and mends what that leaves to it (counters in the
        # superblock, files that were open). 4 would be damage.
        root = _tool("e2fsck", "-f", "-p", str(part), fine=(0, 1, 4))
        root = root if "INCONSISTENCY" in root else ""
        root += _tool("e2fsck", "-f", "-n", str(part), fine=(0, 4)).partition("Fix?")[1]
        return root + fat

    def on_disk(self, path: str) -> str:
        """Read a file of the root partition as check_disk() recovered it, before any boot."""
        return _tool("debugfs", "-R", f"cat {path}", str(self.recovered))

    def put(self, path: str, text: str) -> None:
        """Write a file onto the FAT partition while the machine is off."""
        at = f"{self.disk}@@{_FAT_AT}"
        source = self.folder / "put"
        source.write_text(text)
        _tool("mcopy", "-o", "-i", at, str(source), f"::{path}")

    def get(self, path: str) -> str:
        """Read a file of the FAT partition while the machine is off."""
        at = f"{self.disk}@@{_FAT_AT}"
        return _tool("mtype", "-i", at, f"::{path}")

    def raw(self) -> bytes:
        """Return every byte of the FAT partition, those of no file included."""
        with self.disk.open("rb") as file:
            file.seek(_FAT_AT)
            return file.read(_FAT_MIB * _MIB)

    # -- afterwards ----------------------------------------------------------------------------

    def close(self) -> None:
        """Switch off and remove the disk."""
        self.kill()
        self.disk.unlink(missing_ok=True)
        self.recovered.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def image(folder: Path, root: roots.Root, prepare: Callable[[Path], None]) -> Path:
    """Make a disk of a root that has LAYER in it; its kernel goes beside it. Returns the disk."""
    disk = folder / "disk.img"
    (folder / "repositories").mkdir(exist_ok=True)
    mount = folder / "mount"
    with roots.mounted(root, mount) as tree:
        for name, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd", "initrd.img-*")):
            shutil.copyfile(max((tree / "boot").glob(pattern)), folder / name)
        (tree / "etc/fstab").write_text(_FSTAB)
        (tree / "etc/hostname").write_text("debian\n")
        (tree / "opt/agent.py").write_text(_AGENT)
        (tree / "etc/systemd/network/10-vm.network").write_text(_NETWORK)
        _enable(tree, "vm-agent.service", "sysinit.target", _AGENT_UNIT)
        _enable(tree, "systemd-networkd.service", "multi-user.target")
        for unit in _NOT_NEEDED:
            path = tree / "etc/systemd/system" / unit
            path.unlink(missing_ok=True)
            path.symlink_to("/dev/null")
        prepare(tree)
        with disk.open("wb") as file:
            file.truncate(_ROOT_AT + _ROOT_MIB * _MIB)
            file.write(_partition_table())
        _tool("mkfs.vfat", "-F", "32", "-s", "1", "-n", "BOOTFS", f"--offset={_FAT_AT // _SECTOR}",
              str(disk), str(_FAT_MIB * 1024))  # fmt: skip
        _tool("mkfs.ext4", "-q", "-F", "-E", f"offset={_ROOT_AT}", "-d", str(tree),
              str(disk), f"{_ROOT_MIB}M")  # fmt: skip
    shutil.rmtree(mount)
    return disk


def start_from(image: Path, name: str) -> Vm:
    """Return a machine on a copy of a disk."""
    disk = image.with_name(f"{name}.img")
    _cp(image, disk)
    return Vm(image.parent, disk)


def repo(folder: Path, name: str) -> Repo:
    """Make an empty repository that the guests can reach."""
    return Repo(folder / "repositories", name, f"git://{GIT}/{name}.git")


def _enable(tree: Path, unit: str, target: str, text: str = "") -> None:
    """Let a unit be started at boot."""
    units = tree / "etc/systemd/system"
    path = units / unit
    if text:
        path.write_text(text)
    link = units / f"{target}.wants" / unit
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(f"/etc/systemd/system/{unit}" if text else f"/usr/lib/systemd/system/{unit}")


def _partition_table() -> bytes:
    """Return a master boot record with the two partitions."""
    rows = b""
    for kind, at, size in ((0x0C, _FAT_AT, _FAT_MIB), (0x83, _ROOT_AT, _ROOT_MIB)):
        rows += struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", kind, b"\xfe\xff\xff",
                            at // _SECTOR, size * _MIB // _SECTOR)  # fmt: skip
    return bytes(440) + b"PioT\0\0" + rows.ljust(64, b"\0") + b"\x55\xaa"


def _cp(source: Path, to: Path) -> None:
    """Copy a disk image, holes as holes."""
    argv = ["cp", "--sparse=always", "--reflink=auto", str(source), str(to)]
    subprocess.run(argv, check=True, timeout=300)


def _cut_out(disk: Path, to: Path, at: int, size: int) -> None:
    """Copy a partition out of a disk image."""
    to.unlink(missing_ok=True)
    words = [f"if={disk}", f"of={to}", "bs=1M", f"skip={at // _MIB}", f"count={size}"]
    subprocess.run(["dd", *words, "conv=sparse", "status=none"], check=True, timeout=300)


def _tool(*argv: str, fine: Sequence[int] | range = (0,)) -> str:
    """Run a tool for file systems; return what it printed."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode not in fine:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + (done.stderr if len(fine) > 1 else "")
