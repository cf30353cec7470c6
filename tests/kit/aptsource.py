"""A source of Debian packages on a machine's own disk: the only one that its apt knows then."""

from tests.kit.machine import Machine


def offer(machine: Machine, *names: str) -> None:
    """Let apt know of packages, each a program of its name, and of no other source."""
    for name in names:
        machine.write(f"/srv/{name}/usr/bin/{name}", f"#!/bin/sh\necho {name} runs\n", 0o755)
        control = (
            f"Package: {name}\nVersion: 1\nArchitecture: all\n"
            "Maintainer: Test <test@example.org>\nDescription: a test\n"
        )
        machine.write(f"/srv/{name}/DEBIAN/control", control)
        machine.sh(f"dpkg-deb --build /srv/{name} /srv/{name}.deb")
        facts = machine.sh(f"stat -c 'Size: %s' /srv/{name}.deb; sha256sum </srv/{name}.deb")
        size, digest = facts.splitlines()
        entry = f"{control}Filename: ./{name}.deb\n{size}\nSHA256: {digest.split()[0]}\n\n"
        machine.sh(f"cat >>/srv/Packages <<'END'\n{entry}\nEND")
    machine.sh("rm -f /etc/apt/sources.list.d/*")
    machine.write("/etc/apt/sources.list", "deb [trusted=yes] file:/srv ./\n")
