"""Ask an http server for a few refs, and be sent no others.

`git ls-remote` can limit what it is sent to all branches and all tags. Version 2 of git's protocol
knows prefixes, and git's own helper for http passes them on: gitprotocol-v2(5),
gitremote-helpers(7). It does all that has to do with the server (TLS, credentials, redirections);
here is only what it is told. One process less than `ls-remote`, too. Part of the idle poll, so
nothing costly is imported.
"""

import posix
import select
import time

from piot_firstboot import spawn

OTHERWISE = "otherwise"  # the server speaks an older version: ask it in another way
_FLUSH, _DELIMITER = b"0000", b"0001"
_NAMED = b"object-format=sha256\n"


def ask(
    options: tuple[str, ...],
    environment: dict[str, str],
    url: str,
    prefixes: tuple[str, ...],
    patience: float,
) -> dict[str, str] | str | None:
    """Return the refs that begin with the prefixes, and `NAME^{}` for what tags stand for.

    None when there is no usable answer within `patience` seconds, OTHERWISE from an old server.
    """
    child, write, read = _start(("git", *options, "remote-https", url, url), environment)
    if not child:
        return None
    until = time.monotonic() + patience
    refs: dict[str, str] | str | None = None
    try:
        posix.write(write, b"stateless-connect git-upload-pack\n")
        line, rest = _line(read, until)
        if line == b"fallback":
            refs = OTHERWISE
        elif line == b"":
            able, rest = _lines(read, rest, until)  # what the server can do
            posix.write(write, _request(prefixes, _NAMED in able))
            rows, _ = _lines(read, rest, until)
            refs = _refs(rows)
    except (OSError, ValueError):
        pass
    finally:
        posix.close(write)
        posix.close(read)
        if refs is None:
            posix.kill(child, 15)  # git then ends its own children too
        posix.waitpid(child, 0)
    return refs


def _start(argv: tuple[str, ...], environment: dict[str, str]) -> tuple[int, int, int]:
    """Start the helper; return its id, and the ends of the pipes to it and from it."""
    theirs_in, write = posix.pipe()
    read, theirs_out = posix.pipe()
    child = spawn.start(argv, environment, theirs_in, theirs_out)
    if not child:
        posix.close(write)
        posix.close(read)
    posix.close(theirs_in)
    posix.close(theirs_out)
    return child, write, read


def _more(read: int, until: float) -> bytes:
    """Return what comes next; raises ValueError when nothing does in time."""
    waiting = select.poll()
    waiting.register(read, select.POLLIN)
    left = until - time.monotonic()
    data = posix.read(read, 65536) if left > 0 and waiting.poll(left * 1000) else b""
    if not data:
        raise ValueError
    return data


def _line(read: int, until: float) -> tuple[bytes, bytes]:
    """Return the first line, and what came behind it."""
    data = b""
    while b"\n" not in data:
        data += _more(read, until)
    line, _, rest = data.partition(b"\n")
    return line, rest


def _lines(read: int, data: bytes, until: float) -> tuple[list[bytes], bytes]:
    """Return the pkt-lines up to the next flush, and what came behind it."""
    rows: list[bytes] = []
    at = 0
    while True:
        while len(data) < at + 4:
            data += _more(read, until)
        size = int(data[at : at + 4], 16)
        if size == 0:
            return rows, data[at + 4 :]
        if size == 2:  # the end of the answer before
            at += 4
            continue
        if size < 4:
            raise ValueError
        while len(data) < at + size:
            data += _more(read, until)
        rows.append(data[at + 4 : at + size])
        at += size


def _request(prefixes: tuple[str, ...], sha256: bool) -> bytes:
    """Write the question; a repository that names objects by SHA-256 must be asked for those."""
    words = [b"peel\n", *(f"ref-prefix {prefix}\n".encode() for prefix in prefixes)]
    head = _packet(b"command=ls-refs\n") + (_packet(_NAMED) if sha256 else b"")
    return head + _DELIMITER + b"".join(map(_packet, words)) + _FLUSH


def _packet(data: bytes) -> bytes:
    """Write one pkt-line."""
    return f"{len(data) + 4:04x}".encode() + data


def _refs(rows: list[bytes]) -> dict[str, str]:
    """Read the answer: `COMMIT NAME`, with `peeled:COMMIT` behind a tag's own object."""
    refs = {}
    for row in rows:
        value, name, *more = row.decode("utf-8", "replace").rstrip("\n").split(" ")
        refs[name] = value
        for word in more:
            if word.startswith("peeled:"):
                refs[f"{name}^{{}}"] = word[7:]
    return refs
