"""The store of secrets with real systemd-creds of both releases: exact bytes, nowhere readable."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from piot_firstboot.items import File
from piot_firstboot.manifest import parse
from piot_firstboot.render.app_units import Release, render_app
from tests.kit.machine import PATH, Machine

Machines = Callable[..., Machine]
PACKAGE = Path(__file__).parents[2] / "piot_firstboot"
SYSTEMD = {"bookworm": 252, "trixie": 257}
STATE = "/var/lib/piot-app"
STORE = "/var/lib/piot/secrets"
PIOT = "import sys; from piot_firstboot.cli import main; sys.exit(main(sys.argv[1:]))"

NOISE = random.Random(3)
VALUES = [
    b"hunter2-is-what-everyone-takes",
    " zażółć gęślą jaźń 🌱 ".encode(),
    b"$HOME ${PATH} %n %% `id` \\x41 \\",
    b'"quoted\' "',
    b"one line\nand another\n",
    b"\r\n",
    b"x",
    bytes(range(256)),
    b"p" * 32768,
    NOISE.randbytes(32768),
    *(NOISE.randbytes(NOISE.randrange(1, 200)) for _ in range(10)),
]
NAMES = {f"V{number}": value for number, value in enumerate(VALUES)}
MANIFEST = f"""\
piot: 1
secrets: [{", ".join(NAMES)}]
services:
  web:
    run: cd "$CREDENTIALS_DIRECTORY" && sha256sum -- * >"$STATE_DIRECTORY/sums" && exec sleep 900
    shell: true
"""
# What `piot apply` does with the values of a file.
CONCEAL = """
from piot_firstboot import conftext, vault
from piot_firstboot.system import System
path, system = "/boot/firmware/piot.conf", System()
data = system.read(path)
entries = [entry for block in conftext.read(data)[1] for entry in block.entries]
for entry in entries:
    vault.put(system, entry.key, entry.value)
print(vault.conceal(system, path, data, entries), end="")
print(dict(vault.resolve(system)) == {entry.key: entry.value for entry in entries})
"""


def install(pi: Machine) -> Machine:
    """Boot a machine that has the package's modules and nothing else of it."""
    target = pi.tree / "usr/lib/python3/dist-packages/piot_firstboot"
    shutil.copytree(PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    return pi.boot()


def python(pi: Machine, script: str, *words: str, stdin: bytes = b"", ok: bool = True) -> str:
    """Run Python in the machine; return what it printed."""
    argv = [*pi.enter(), "env", "-i", f"PATH={PATH}", "python3", "-B", "-c", script, *words]
    done = subprocess.run(argv, input=stdin, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode()
    assert (done.returncode == 0) is ok, said
    return said


def put_units(pi: Machine) -> None:
    """Install the unit of an app that asks for every secret."""
    release = Release(
        app="app",
        commit="c0ffee",
        path="/opt/app",
        hostname="pi",
        systemd=SYSTEMD[pi.release],
        resolve=lambda word, directory: word,
    )
    for item in render_app(parse(MANIFEST.encode()), release):
        if isinstance(item, File):
            pi.write(item.path, item.content)
    pi.sh("useradd -r -d /var/lib/piot-app piot-app; mkdir -p /opt/app; systemctl daemon-reload")


def given(pi: Machine) -> dict[str, str]:
    """Start the unit, and return the digest of each secret that it was given."""
    pi.sh(f"rm -f {STATE}/sums; systemctl restart piot-app-web.service")
    pi.sh(f"for i in $(seq 100); do [ -s {STATE}/sums ] && break; sleep 0.1; done")
    lines = pi.read(f"{STATE}/sums").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def traces(pi: Machine, values: list[bytes]) -> Iterator[str]:
    """Search all that was ever written to the machine's disk, its journal and its processes."""
    needles = [form for v in values for form in (v, base64.b64encode(v)) if len(v) >= 8]
    places = {str(path): path for path in (pi.folder / "upper").rglob("*")}
    for name, path in places.items():
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            yield from (f"{name}: {needle[:20]!r}" for needle in needles if needle in data)
    pi.sh("journalctl --sync")
    for command in (
        "journalctl -o export --all",
        "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true",
        "systemctl show 'piot-*' --all; systemctl cat 'piot-*' || true",
        "find /run /tmp /dev/shm -xdev -type f -exec cat {} + 2>/dev/null || true",
    ):
        argv = [*pi.enter(), "sh", "-c", command]
        data = subprocess.run(argv, capture_output=True, timeout=60, check=True).stdout
        yield from (f"{command}: {needle[:20]!r}" for needle in needles if needle in data)


def test_a_unit_is_given_the_exact_bytes_and_nobody_else_sees_them(machine: Machines) -> None:
    pi = install(machine())
    for name, value in NAMES.items():
        said = python(pi, PIOT, "secret", "set", "--raw", name, stdin=value)
        assert said == f"{name} is stored, sealed\n"
    assert pi.sh(f"stat -c %a:%U {STORE}") == "700:root"
    assert set(pi.sh(f"stat -c %a:%U:%n {STORE}/*").splitlines()) == {
        f"600:root:{STORE}/{name}.cred" for name in NAMES
    }
    put_units(pi)
    expected = {name: hashlib.sha256(value).hexdigest() for name, value in NAMES.items()}
    assert given(pi) == expected
    pi.reboot()
    assert given(pi) == expected
    assert list(traces(pi, VALUES)) == []
    rows = json.loads(python(pi, PIOT, "secret", "list", "--json"))["secrets"]
    assert {row["name"] for row in rows} == set(NAMES)
    assert all(row["sealed"] and row["opens"] for row in rows)
    assert all(row["units"] == ["piot-app-web.service"] for row in rows)


def test_a_card_that_went_to_another_machine(machine: Machines) -> None:
    pi = install(machine())
    python(pi, PIOT, "secret", "set", "OLD", stdin=b"of the first machine")
    pi.sh("rm /var/lib/systemd/credential.secret")
    assert python(pi, PIOT, "secret", "list") == "OLD  sealed elsewhere  by hand\n"
    # The host gets a new key with the next secret; what was sealed before is set again.
    python(pi, PIOT, "secret", "set", "NEW", stdin=b"of the second")
    python(pi, PIOT, "secret", "set", "OLD", stdin=b"of the second")
    assert python(pi, PIOT, "secret", "list") == "NEW  sealed  by hand\nOLD  sealed  by hand\n"
    assert python(pi, PIOT, "secret", "rm", "OLD") == "OLD is removed\n"
    assert pi.sh(f"ls {STORE}") == "NEW.cred"


def test_without_systemd_creds_secrets_are_plain(machine: Machines) -> None:
    pi = install(machine())
    pi.sh("mv /usr/bin/systemd-creds /root")
    assert (
        python(pi, PIOT, "secret", "set", "KEY", stdin=b"left-in-the-open\n") == "KEY is stored\n"
    )
    assert pi.sh(f"stat -c %a:%U {STORE}/KEY; cat {STORE}/KEY") == "600:root\nleft-in-the-open"
    assert len(list(traces(pi, [b"left-in-the-open"]))) == 1, "the search finds what there is"
    pi.sh("mv /root/systemd-creds /usr/bin")
    said = python(pi, PIOT, "secret", "set", "KEY", stdin=b"left-in-the-open\n")
    assert said == "KEY is stored, sealed\n"
    assert pi.sh(f"ls {STORE}") == "KEY.cred"


def test_values_leave_the_boot_partition(machine: Machines) -> None:
    pi = install(machine())
    secrets = {"A": "correct horse battery staple", "B": " zażółć 🌱 ", "C": 'say "$HOME%n"'}
    lines = ["[secrets]", "# what the app needs", "A = {A}", 'B="{B}"', "; end", "C = {C}", ""]
    text = "\r\n".join(lines)
    pi.write("/boot/firmware/piot.conf", text.format(**secrets).encode("utf-16"))
    assert python(pi, CONCEAL) == "True\n"
    done = (pi.tree / "boot/firmware/piot.conf").read_bytes()
    assert done == text.format(**dict.fromkeys(secrets, "@stored")).encode("utf-16")
    assert pi.sh("ls -A /boot/firmware") == "piot.conf"
    values = [v.encode(way) for v in secrets.values() for way in ("utf-8", "utf-16-le")]
    assert list(traces(pi, values)) == []
    pi.reboot()
    assert '"A"' in python(pi, PIOT, "secret", "list", "--json")
    assert "piot.conf line 3" in python(pi, PIOT, "secret", "list")
    said = python(pi, PIOT, "secret", "rm", "A", ok=False)
    assert "line 3 of piot.conf names A" in said
