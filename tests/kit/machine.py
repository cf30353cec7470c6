"""A Debian machine with systemd as PID 1, in a container: boots in a second, dies at will."""

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit import bed, nspawn, roots
from tests.kit.network import Network
from tests.kit.wait import eventually

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POWEROFF_SECONDS = 60
# There is one clock, and it is this host's: what enters a machine from outside must not set it.
_NO_CLOCK = ("setpriv", "--bounding-set=-sys_time")


class CommandFailed(AssertionError):
    """A command in the machine that should have succeeded did not."""


class Machine:
    """A machine on a copy-on-write root; /boot/firmware is a plain directory in it.

    Off until boot(); files can be written before. Everything but network= is cleared by close().
    """

    def __init__(
        self,
        root: roots.Root,
        network: Network | None = None,
        *,
        hostname: str = "debian",
        first_boot: bool = False,
    ) -> None:
        self.release = root.release
        self.folder = network.folder if network else bed.new_bed()
        self._own_network = network is None
        self.network = network or Network(self.folder)
        self.name = self.folder.name
        self.console = self.folder / "console.log"
        self.boots = 0
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._cgroup = nspawn.Cgroup(self.name)
        self.tree = roots.mount(root, self.folder)
        # "uninitialized" is what a Raspberry Pi OS image holds: PID 1 then applies all presets.
        ident = "uninitialized" if first_boot else uuid.uuid4().hex
        (self.tree / "etc/machine-id").write_text(f"{ident}\n")
        (self.tree / "etc/hostname").write_text(f"{hostname}\n")
        (self.tree / "etc/hosts").write_text(self.network.hosts(hostname))
        (self.tree / "etc/resolv.conf").write_text(self.network.resolv_conf())

    # -- power ---------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Tell whether the machine is switched on."""
        return self._nspawn is not None and self._nspawn.poll() is None

    def boot(self, wait: bool = True, timeout: float = 60) -> Self:
        """Switch the machine on; unless wait=False, return when it is up with no failed unit."""
        if self.running:
            raise RuntimeError(f"{self.name} is already running")
        argv = nspawn.command(
            self.tree,
            self.name,
            "--boot",
            "--console=read-only",
            "--capability=CAP_NET_ADMIN",
            # What these would copy in from the host belongs to the machine, and to PioT.
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
        )
        # Entered before nspawn rather than by --network-namespace-path=, which would leave the
        # host's interfaces in the machine's /sys/class/net.
        argv = ["nsenter", f"--net=/run/netns/{self.network.machine}", *argv]
        with self.console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                self._cgroup.join(argv),
                # NetworkManager sets /proc/sys/net as on a machine of its own.
                env={**nspawn.ENVIRONMENT, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self.boots += 1
        eventually(
            lambda: self._leader() or not self.running, timeout, "PID 1 of the machine", 0.01
        )
        if wait:
            self.wait_running(timeout)
        return self

    def wait_running(self, timeout: float = 60, expect: str | None = "running") -> str:
        """Wait until the boot is finished; return systemd's word for it, which must be `expect`."""
        until = time.monotonic() + timeout
        state = ""
        while time.monotonic() < until:
            if not self.running:
                raise AssertionError(f"the machine went off while booting\n{self.diagnosis()}")
            state = self.run(["systemctl", "is-system-running"], check=False).stdout.strip()
            if state in ("running", "degraded", "maintenance", "stopping"):
                break
            time.sleep(0.05)
        else:
            raise TimeoutError(f"still {state!r} after {timeout:g} s\n{self.diagnosis()}")
        if expect is not None and state != expect:
            raise AssertionError(f"the machine is {state}, not {expect}\n{self.diagnosis()}")
        return state

    def poweroff(self) -> None:
        """Shut down in order; raise if that takes longer than a minute."""
        if not self.running:
            return
        self.run(["systemctl", "--no-block", "poweroff"], check=False)
        assert self._nspawn
        try:
            self._nspawn.wait(POWEROFF_SECONDS)
        except subprocess.TimeoutExpired:
            report = self.diagnosis()
            self.kill()
            raise TimeoutError(f"not off after {POWEROFF_SECONDS} s\n{report}") from None
        self._cgroup.remove()

    def reboot(self, wait: bool = True, timeout: float = 60) -> None:
        """Shut down in order and boot again, on the same files."""
        self.poweroff()
        self.boot(wait, timeout)

    def kill(self) -> None:
        """Cut the power: every process dies at once. What was written to files so far remains."""
        if not self.running:
            return
        assert self._nspawn
        if leader := self._leader():
            os.kill(leader, signal.SIGKILL)
        else:
            self._nspawn.kill()
        self._nspawn.wait(30)
        bed.kill_netns(self.network.machine)
        self._cgroup.remove()

    # -- inside --------------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str] | str,
        *,
        check: bool = True,
        timeout: float = 60,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, a string by sh; while the machine is off, by chroot."""
        command = ["/bin/sh", "-c", argv] if isinstance(argv, str) else list(argv)
        variables = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **(env or {})}
        if user:
            command = ["runuser", "-u", user, "--", *command]
        command = ["env", "-i", *(f"{k}={v}" for k, v in variables.items()), *command]
        done = subprocess.run(
            [*self.enter(), *command],
            input=input,
            stdin=None if input is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            cwd="/",
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}".rstrip()
            raise CommandFailed(f"{argv!r} in {self.name}: exit {done.returncode}\n{said}")
        return done

    def enter(self) -> list[str]:
        """Return the command prefix that enters the machine."""
        leader = self._leader() if self.running else None
        if leader is None:
            return ["chroot", str(self.tree), *_NO_CLOCK]
        return ["nsenter", f"--target={leader}", *"-m -u -i -n -p -C".split(), *_NO_CLOCK]

    def sh(self, script: str, *, timeout: float = 60) -> str:
        """Run a shell script inside; return what it printed, without the last newline."""
        return self.run(script, timeout=timeout).stdout.rstrip("\n")

    def write(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Write a file in the machine, running or off, with its parent directories."""
        data = text if isinstance(text, bytes) else text.encode()
        script = 'mkdir -p "$(dirname "$0")" && cat >"$0" && chmod "$1" "$0"'
        command = [*self.enter(), "/bin/sh", "-c", script, path, f"{mode:o}"]
        subprocess.run(command, input=data, check=True, timeout=30)

    def read(self, path: str) -> str:
        """Return the text of a file in the machine, running or off."""
        return self.run(["cat", "--", path]).stdout

    def exists(self, path: str) -> bool:
        """Tell whether a path exists in the machine; a dangling symlink does."""
        return self.run('[ -e "$P" ] || [ -L "$P" ]', env={"P": path}, check=False).returncode == 0

    def copy_in(self, source: Path, path: str) -> None:
        """Copy a file of this host into the machine."""
        self.write(path, source.read_bytes(), source.stat().st_mode & 0o777)

    def install(self, deb: Path) -> str:
        """Install a deb with apt as a user would, without network; return what apt printed."""
        target = f"/var/tmp/{deb.name}"
        self.copy_in(deb, target)
        argv = ["apt-get", "-y", "-q", "install", target]
        env = {"DEBIAN_FRONTEND": "noninteractive"}
        if not self.running:
            # Without /proc and /dev, maintainer scripts would see a machine that does not exist.
            done = nspawn.run_in(self.tree, argv, name=f"{self.name}-install")
            (self.tree / "etc/resolv.conf").write_text(self.network.resolv_conf())
        else:
            result = self.run(argv, env=env, timeout=180)
            done = result.stdout + result.stderr
        self.run(["rm", "--", target])
        return done

    def trust(self, ca: Path, name: str = "test") -> None:
        """Install a certificate authority into the machine's trust store."""
        self.copy_in(ca, f"/usr/local/share/ca-certificates/piot-{name}.crt")
        self.run(["update-ca-certificates"])

    # -- afterwards ----------------------------------------------------------------------------

    def diagnosis(self) -> str:
        """Return what one needs to see when something went wrong: units, journal and console."""
        parts = []
        if self.running:
            for argv in (
                ["systemctl", "list-units", "--failed", "--no-legend", "--no-pager", "--plain"],
                ["systemctl", "list-jobs", "--no-legend", "--no-pager"],
                ["journalctl", "-b", "-n", "60", "-o", "short-precise", "--no-pager"],
            ):
                try:
                    parts.append(
                        f"$ {' '.join(argv)}\n{self.run(argv, check=False, timeout=20).stdout}"
                    )
                except (subprocess.SubprocessError, OSError) as error:
                    parts.append(f"$ {' '.join(argv)}\n{error}")
        if self.console.exists():
            lines = self.console.read_text(errors="replace").splitlines()
            parts.append("console:\n" + "\n".join(lines[-25:]))
        return "\n".join(parts)

    def keep(self) -> str:
        """Leave the machine running after this process ends; return the command that enters it."""
        command = " ".join([*self.enter(), "/bin/bash", "-l"])
        bed.keep(self.folder)
        return command

    def close(self) -> None:
        """Switch off without ceremony and remove all that the machine occupied."""
        if (self.folder / "kept").exists():
            return
        self.kill()
        if self._own_network:
            bed.clear(self.folder)
            return
        roots.unmount(self.folder)
        nspawn.forget(self.name)
        shutil.rmtree(self.folder / "upper")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _leader(self) -> int | None:
        if self._nspawn is None:
            return None
        pid = self._nspawn.pid
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return None
        return next((int(child) for child in children if _is_init(int(child))), None)


def _is_init(pid: int) -> bool:
    """Tell whether a process is PID 1 of a namespace below ours, past nspawn's own preparations."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    ids = fields["NSpid"].split()
    return len(ids) > 1 and ids[-1] == "1" and fields["Name"] == "systemd"
