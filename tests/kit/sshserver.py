"""A git server behind sshd on the server's side of a network, with keys that open a repository.

sshd and git are those of a Debian tree of their own, so that the host needs no SSH server. Large
files lie on an http server, and `lfs` is what git-lfs is told of that: Git LFS, Server Discovery.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit import bed, roots
from tests.kit.git_repo import Repo
from tests.kit.network import SERVER, Network
from tests.kit.wait import eventually

_CONFIG = f"""\
ListenAddress {SERVER}
HostKey /etc/ssh/host_ed25519
AuthorizedKeysFile /etc/ssh/keys
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AcceptEnv GIT_PROTOCOL
LogLevel VERBOSE
PidFile none
"""
# What the large hosts do with a deploy key: it opens the repositories that it was added to, for
# reading, and tells git-lfs by which address and header it finds their large files.
_ONLY = """\
#!/bin/sh
n=0
while [ -e /srv/hang ] && [ $n -lt 3000 ]; do sleep 0.1; n=$((n + 1)); done
for repo in "$@"; do
    case $SSH_ORIGINAL_COMMAND in
    "git-upload-pack '$repo'") exec git upload-pack "$repo" ;;
    "git-lfs-authenticate $repo download" | "git-lfs-authenticate '$repo' download")
        exec cat "$repo/lfs.json" ;;
    esac
done
echo "this key does not open $SSH_ORIGINAL_COMMAND" >&2
exit 1
"""


class SshServer:
    """sshd with the user git, whose keys are added and removed by `admit` and `dismiss`."""

    def __init__(self, release: str, network: Network) -> None:
        self.network = network
        self.folder = bed.new_bed()
        self.tree = roots.mount(roots.base(release), self.folder)
        self.repositories = self.tree / "srv/git"
        self._keys: dict[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        for name, table in (("passwd", "git:x:900:900::/:/bin/sh"), ("shadow", "git:*:1::::::")):
            with (self.tree / "etc" / name).open("a") as file:
                file.write(f"{table}\n")
        (self.tree / "etc/gitconfig").write_text("[safe]\n\tdirectory = *\n")
        (self.tree / "etc/ssh/piot.conf").write_text(_CONFIG)
        (self.tree / "run/sshd").mkdir(parents=True, exist_ok=True)
        only = self.tree / "usr/local/bin/only"
        only.write_text(_ONLY)
        only.chmod(0o755)
        self.change_host_key()
        self.start()

    def start(self) -> None:
        """Start sshd; return when it takes connections."""
        self._write_keys()
        heard = f"Server listening on {SERVER} port 22"
        count = self.log.read_text().count(heard) if self.log.exists() else 0
        argv = ["chroot", str(self.tree), "/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/piot.conf"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.network.server_command(*argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(lambda: self.log.read_text().count(heard) > count, 10, "sshd to listen", 0.05)

    def stop(self) -> None:
        """Stop sshd; connections that are open go on until their command ends."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(10)
        self._process = None

    def close(self) -> None:
        """Stop and remove everything."""
        self.stop()
        bed.clear(self.folder)

    @property
    def log(self) -> Path:
        """Return what sshd prints."""
        return self.folder / "sshd.log"

    @property
    def host_key(self) -> str:
        """Return the server's line for known_hosts."""
        words = (self.tree / "etc/ssh/host_ed25519.pub").read_text().split()
        return f"git.test {words[0]} {words[1]}"

    def change_host_key(self) -> None:
        """Give the server another host key; sshd reads it at its start."""
        for path in (self.tree / "etc/ssh").glob("host_ed25519*"):
            path.unlink()
        make_key(self.tree / "etc/ssh/host_ed25519")

    @contextmanager
    def hanging(self) -> Iterator[Callable[[], int]]:
        """Let clients in and keep them waiting; yields what tells how many there are."""
        waits, accepted = self.tree / "srv/hang", "Accepted publickey for git"
        before = self.log.read_text().count(accepted)
        waits.touch()
        try:
            yield lambda: self.log.read_text().count(accepted) - before
        finally:
            waits.unlink()

    def repo(self, name: str) -> Repo:
        """Make an empty repository on this server."""
        return Repo(self.repositories, name, f"ssh://git@git.test/srv/git/{name}.git")

    def admit(self, repo: str, key: str, *more: str) -> None:
        """Let a public key read one repository, or `more`, and nothing else."""
        paths = " ".join(f"/srv/git/{name}.git" for name in (repo, *more))
        self._keys[key] = f'restrict,command="only {paths}" {key}\n'
        self._write_keys()

    def lfs(self, repo: str, url: str, token: str) -> None:
        """Let git-lfs find a repository's large files by http, with a token of its own."""
        found = {"href": f"{url}/info/lfs", "header": {"Authorization": f"Bearer {token}"}}
        (self.repositories / f"{repo}.git/lfs.json").write_text(json.dumps(found))

    def dismiss(self, key: str) -> None:
        """Take a key's right away."""
        del self._keys[key]
        self._write_keys()

    def _write_keys(self) -> None:
        (self.tree / "etc/ssh/keys").write_text("".join(self._keys.values()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def make_key(path: Path, comment: str = "test") -> str:
    """Make an ed25519 key without a passphrase; return its public half."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    subprocess.run(argv, check=True, timeout=30, stdin=subprocess.DEVNULL)
    return path.with_name(f"{path.name}.pub").read_text().strip()
