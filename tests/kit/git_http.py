"""A smart HTTP git server: hands each request to `git http-backend`. Run by gitserver.py."""

import argparse
import base64
import json
import os
import ssl
import subprocess
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import unquote

CHUNK = 64 * 1024


class GitHandler(BaseHTTPRequestHandler):
    """One connection; the behaviour is read anew from control.json at each request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, else each answer waits 40 ms for an ACK
    timeout = 120
    folder: Path

    def do_GET(self) -> None:
        """Answer a GET."""
        self.answer()

    def do_POST(self) -> None:
        """Answer a POST."""
        self.answer()

    def answer(self) -> None:
        """Refuse, hang or pass the request on, as control.json says."""
        control = json.loads((self.folder / "control.json").read_text())
        body = self.body()
        with (self.folder / "requests.jsonl").open("a") as log:
            agent = self.headers.get("User-Agent", "")
            row = {"method": self.command, "path": self.path, "agent": agent, "time": time.time()}
            row["authorization"] = self.headers.get("Authorization", "")
            log.write(json.dumps(row) + "\n")
        # Bounded, so that a test that forgets to let go does not leave a thread for ever.
        until = time.monotonic() + 600
        while control["hang"] and time.monotonic() < until:
            time.sleep(0.1)
            control = json.loads((self.folder / "control.json").read_text())
        if control["status"]:
            self.refuse(control["status"], control["text"])
        elif control["redirect"]:
            self.redirect(control["redirect"])
        elif control["token"] and not self.knows(control["token"]):
            self.refuse(401, "authentication required")
        elif control["html"]:
            self.send(200, {"Content-Type": "text/html"}, b"<html>Please log in</html>\n")
        elif "/info/lfs/" in self.path:
            self.large_file(body, control["store"])
        elif control["dumb"]:
            self.plain_file()
        else:
            self.backend(body, control)

    def body(self) -> bytes:
        """Return the request's body; git sends long ones in chunks."""
        stream = cast(BinaryIO, self.rfile)
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return stream.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(stream.readline().split(b";")[0], 16):
            parts.append(stream.read(size))
            stream.readline()
        stream.readline()
        return b"".join(parts)

    def knows(self, token: str) -> bool:
        """Tell whether the request brings `token` as its password or bearer token."""
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return value == token
        if kind.lower() != "basic":
            return False
        return base64.b64decode(value).decode().partition(":")[2] == token

    def refuse(self, status: int, text: str) -> None:
        """Answer with an error status."""
        data = f"{text}\n".encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def redirect(self, to: str) -> None:
        """Send the client to the same path elsewhere."""
        self.send(302, {"Location": f"{to}{self.path}"}, b"")

    def large_file(self, body: bytes, store: str) -> None:
        """Be the LFS server: objects lie in the folder lfs, named by their hash."""
        name = self.path.rpartition("/")[2]
        folder = self.folder / "lfs"
        if name != "batch":
            self.send(200, {}, (folder / name).read_bytes())
            return
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        server = store or f"{scheme}://{self.headers['Host']}"
        base = f"{server}{self.path.rpartition('/')[0]}"
        # Who came by ssh knows no password: the header that was brought holds for the file, too.
        brought = self.headers.get("Authorization", "")
        bearer = brought.startswith("Bearer ") and not store
        given = {"header": {"Authorization": brought}} if bearer else {}
        rows = []
        for asked in json.loads(body)["objects"]:
            row = {"oid": asked["oid"], "size": asked["size"]}
            if (folder / asked["oid"]).exists():
                row["actions"] = {"download": {"href": f"{base}/{asked['oid']}", **given}}
            else:
                row["error"] = {"code": 404, "message": "Object does not exist on the server"}
            rows.append(row)
        data = json.dumps({"transfer": "basic", "objects": rows}).encode()
        self.send(200, {"Content-Type": "application/vnd.git-lfs+json"}, data)

    def plain_file(self) -> None:
        """Be a server that knows nothing of git, with the lists that git leaves for such."""
        path = self.folder / "repositories" / unquote(self.path.partition("?")[0]).lstrip("/")
        bare = next((p for p in path.parents if p.suffix == ".git"), None)
        if bare:
            command = ["git", "-C", str(bare), "update-server-info"]
            subprocess.run(command, check=True, timeout=60)
        if path.is_file():
            self.send(200, {"Content-Type": "text/plain"}, path.read_bytes())
        else:
            self.send(404, {}, b"")

    def send(self, status: int, headers: dict[str, str], data: bytes) -> None:
        """Answer with these headers and bytes."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def backend(self, body: bytes, control: dict[str, Any]) -> None:
        """Run git http-backend for this request and pass its answer on."""
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder / "repositories"),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": str(self.folder / "gitconfig"),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": unquote(path),
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": "" if control["old"] else self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": self.client_address[0],
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=environment,
            stdout=subprocess.PIPE,
            timeout=300,
            check=False,
        )
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().splitlines() if ": " in line]
        status = next((int(v.split()[0]) for k, v in headers if k.lower() == "status"), 200)
        self.send_response(status if head else 500)
        for name, value in headers:
            if name.lower() not in ("status", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        # A cut answer says how long it would have been, as one does whose server dies.
        if control["cut"] and self.command == "POST":
            data = data[: control["cut"]]
            self.close_connection = True
        step = control["rate"] // 10 or CHUNK
        for start in range(0, len(data), step):
            self.wfile.write(data[start : start + step])
            if control["rate"]:
                self.wfile.flush()
                time.sleep(0.1)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: requests.jsonl has it all."""


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tls", type=Path, help="certificate and key in one PEM file")
    options = parser.parse_args()
    handler = type("Handler", (GitHandler,), {"folder": options.folder})
    server = ThreadingHTTPServer((options.address, options.port), handler)
    server.daemon_threads = True
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
