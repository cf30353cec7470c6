"""A page with the last measurement, and a health check."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LAST = Path(os.environ["STATE_DIRECTORY"]) / "last"


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        healthy = self.path == "/healthz"
        text = "ok" if healthy else LAST.read_text() if LAST.exists() else "nothing measured yet"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{text}\n".encode())

    def log_message(self, format: str, *args: object) -> None:
        if self.path != "/healthz":
            print(format % args, flush=True)


print(f"commit {os.environ['PIOT_COMMIT'][:12]} on port {os.environ['PORT']}", flush=True)
ThreadingHTTPServer(("", int(os.environ["PORT"])), Page).serve_forever()
