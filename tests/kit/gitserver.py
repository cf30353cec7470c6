"""Start, stop and steer a git server on the server's side of a network, or on loopback."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.kit.git_repo import Repo
from tests.kit.network import SERVER, Network
from tests.kit.wait import eventually

PROGRAM = Path(__file__).with_name("git_http.py")
CALM = {
    **{"hang": False, "status": 0, "text": "", "token": ""},
    # Send the client elsewhere; answer with a page; end after so many bytes; bytes a second.
    **{"redirect": "", "html": False, "cut": 0, "rate": 0},
    "old": False,  # speak the first version of git's protocol only
    "dumb": False,  # hand out files, and run no git
    "store": "",  # the address of another server, where the large files are
}


class GitServer:
    """git http-backend behind HTTP or HTTPS; without a network it listens on loopback."""

    def __init__(
        self,
        folder: Path,
        network: Network | None = None,
        *,
        tls: bool = False,
        host: str = "git.test",
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.network = network
        self.tls = tls
        self._host = f"{host}:{port}" if port else host
        self.ca = folder / "ca.crt"
        self._process: subprocess.Popen[str] | None = None
        self._port = port or (0 if network is None else (443 if tls else 80))
        (folder / "repositories").mkdir(parents=True)
        # The repositories may belong to another user than the one who serves them.
        (folder / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
        self.behave()
        if tls:
            make_certificates(folder, host)
        self.start()

    def start(self) -> None:
        """Start serving; return when the port is open."""
        address = SERVER if self.network else "127.0.0.1"
        argv = [sys.executable, "-I", str(PROGRAM), str(self.folder), f"--address={address}"]
        argv.append(f"--port={self._port}")
        if self.tls:
            argv.append(f"--tls={self.folder / 'server.pem'}")
        if self.network:
            argv = self.network.server_command(*argv)
        log = (self.folder / "server.log").open("a")
        with log:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"git server: {(self.folder / 'server.log').read_text()[-2000:]}")
        self._port = int(line)

    def stop(self) -> None:
        """Stop serving: connections are refused until start()."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()
        self._process = None

    @property
    def port(self) -> int:
        """Return the port that it listens at."""
        return self._port

    def url(self, name: str) -> str:
        """Return the address of the repository `name` as the machine sees it."""
        scheme = "https" if self.tls else "http"
        host = self._host if self.network else f"127.0.0.1:{self._port}"
        return f"{scheme}://{host}/{name}.git"

    def repo(self, name: str, branch: str = "main", names: str = "sha1") -> Repo:
        """Make an empty repository on this server, which names objects by SHA-1 or `sha256`."""
        return Repo(self.folder / "repositories", name, self.url(name), branch, names)

    def behave(self, **changes: Any) -> None:
        """Answer as told: hang=True, status=503 with text=, token="…"; with nothing, normally."""
        unknown = changes.keys() - CALM.keys()
        if unknown:
            raise TypeError(f"no such behaviour: {', '.join(unknown)}")
        part = self.folder / "control.json.part"
        part.write_text(json.dumps({**CALM, **changes}))
        part.rename(self.folder / "control.json")

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests so far: method, path, agent, time."""
        log = self.folder / "requests.jsonl"
        if not log.exists():
            return []
        return [json.loads(line) for line in log.read_text().splitlines()]

    def wait_request(self, count: int, timeout: float = 30) -> None:
        """Wait until `count` requests have arrived in all."""
        eventually(lambda: len(self.requests()) >= count, timeout, f"{count} requests")

    def certificate(
        self, *, start: str = "", end: str = "", name: str = "", own: bool = False
    ) -> None:
        """Serve another certificate: of other times, for another name, or signed by itself."""
        make_leaf(self.folder, start, end, name, own=own)
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def make_certificates(folder: Path, *names: str) -> None:
    """Make an authority (ca.crt) and with it a certificate (server.pem) for git.test and names."""
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650".split()
    extensions = folder / "extensions"
    served = ",".join(f"DNS:{name}" for name in ("git.test", "localhost", *names))
    extensions.write_text(f"subjectAltName={served},IP:127.0.0.1\n")
    _openssl(
        folder,
        "req",
        "-x509",
        *curve,
        "-subj",
        "/CN=PioT test CA",
        # Without it Python 3.13 refuses the authority: ssl.VERIFY_X509_STRICT.
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    )
    _openssl(
        folder,
        "req",
        *curve,
        "-subj",
        "/CN=git.test",
        "-keyout",
        "server.key",
        "-out",
        "server.csr",
    )
    sign = "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650".split()
    _openssl(folder, *sign, "-extfile", "extensions", "-out", "server.crt")
    both = (folder / "server.crt").read_text() + (folder / "server.key").read_text()
    (folder / "server.pem").write_text(both)


def make_leaf(folder: Path, start: str, end: str, name: str, *, own: bool) -> None:
    """Make another certificate for the server's key, with the authority of make_certificates."""
    (folder / "index").write_text("")
    (folder / "ca.conf").write_text(
        "[ca]\ndefault_ca = a\n[a]\ndatabase = index\nnew_certs_dir = .\nserial = serial\n"
        "default_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n"
    )
    served = f"DNS:{name}" if name else "DNS:git.test,DNS:localhost,IP:127.0.0.1"
    (folder / "leaf").write_text(f"subjectAltName={served}\n")
    authority = ["-cert", "ca.crt", "-keyfile", "ca.key"]
    signer = ["-selfsign", "-keyfile", "server.key"] if own else authority
    times = ("-startdate", start or "20250101000000Z", "-enddate", end or "20541231000000Z")
    words = ("-config", "ca.conf", "-batch", "-rand_serial", "-notext", "-extfile", "leaf")
    _openssl(folder, "ca", *words, *signer, *times, "-in", "server.csr", "-out", "server.crt")
    both = (folder / "server.crt").read_text() + (folder / "server.key").read_text()
    (folder / "server.pem").write_text(both)


def _openssl(folder: Path, *argv: str) -> None:
    done = subprocess.run(
        ["openssl", *argv],
        cwd=folder,
        env={**os.environ, "OPENSSL_CONF": "/etc/ssl/openssl.cnf"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"openssl {' '.join(argv)}: {done.stderr.strip()}")
