"""A USB stick: a partition table and a FAT, made without mounting, plugged into a running Vm."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.kit.vm import Vm
from tests.kit.wait import eventually

_MIB = 1024 * 1024
_AT = 2048  # sectors before the partition, as every tool does it


class UsbStick:
    """A stick with files on its one partition, of 64 MiB, at the port of a machine or not."""

    def __init__(self, folder: Path, name: str, files: Mapping[str, Path]) -> None:
        self.name = name
        self.image = folder / f"{name}.stick"
        size = 64 * _MIB // 512
        row = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x0C, b"\xfe\xff\xff", _AT, size)
        with self.image.open("wb") as file:
            file.truncate((_AT + size) * 512)
            file.write(bytes(446) + row.ljust(64, b"\0") + b"\x55\xaa")
        fat = ["mkfs.vfat", "-F", "32", "-s", "1", "-n", "STICK", f"--offset={_AT}"]
        _tool(*fat, str(self.image), str(size // 2))
        for path, source in files.items():
            _tool("mcopy", "-i", f"{self.image}@@{_AT * 512}", str(source), f"::{path}")

    def plug(self, vm: Vm) -> None:
        """Plug it in; return when udev has looked at it and did what its rules say."""
        file = {"driver": "file", "filename": str(self.image)}
        vm.ask_qemu("blockdev-add", **{"driver": "raw", "node-name": self.name, "file": file})
        what = {"driver": "usb-storage", "drive": self.name, "serial": self.name}
        vm.ask_qemu("device_add", bus="usb.0", id=self.name, **what)
        eventually(lambda: self.seen(vm), 60, "the stick's partition", 0.3)
        vm.run("udevadm settle --timeout=60", timeout=90)

    def pull(self, vm: Vm) -> None:
        """Pull it out, whatever is going on with it; return when the machine has noticed."""
        vm.ask_qemu("device_del", id=self.name)
        eventually(lambda: not self.seen(vm), 60, "the end of the stick", 0.3)
        vm.ask_qemu("blockdev-del", **{"node-name": self.name})
        vm.run("udevadm settle --timeout=60", timeout=90)

    def seen(self, vm: Vm) -> bool:
        """Tell whether the machine sees its partition."""
        return vm.run(f"ls -l /dev/disk/by-id | grep -q {self.name}.*-part1", check=False)[0] == 0


def _tool(*argv: str) -> None:
    """Run a tool for file systems."""
    subprocess.run(argv, capture_output=True, check=True, timeout=120)
