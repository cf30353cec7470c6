"""What git and ssh say when a remote refuses, and what a person can do about it."""

from __future__ import annotations

import re

# Matched in order against all that was printed.
_HINTS = (
    (r"larger than the .* free on the device", "%full"),
    (r"dumb http transport", "%dumb"),
    (r"Could not resolve host|failure in name resolution", "is there a network, and DNS?"),
    (
        r"HOST IDENTIFICATION HAS CHANGED",
        "somebody may be in between: see known_hosts in piot.conf",
    ),
    (r"Host key verification failed", "the server's key is not known: add it to known_hosts"),
    (r"Permission denied \(publickey", "the server refuses the SSH key: add it as a deploy key"),
    (
        r"error in libcrypto|invalid format|Load key .*: ",
        "the deploy key cannot be read: give it again in piot.conf",
    ),
    (r"Authentication failed|could not read Username|error: 40[13]", "the repository is private"),
    (
        r"lacks these prerequisite",
        "this bundle builds on a commit that is not here; make one of all the history: "
        "git bundle create NAME.bundle BRANCH",
    ),
    (r"not valid: |bad line length|invalid server response|expected .*version", "%html"),
    (r"[Pp]rotocol .*(not supported|disabled|not allowed)|redirect", "%elsewhere"),
    (r"not found|does not exist|does not appear to be a git repository", "look at `repo`"),
    (r"certificate", "is the clock right? TLS fails with a wrong date"),
)
_LONGER = {
    "%changed": "if it changed on purpose, list it in piot.conf: known_hosts = …",
    "%html": "what answers there is no git server: is `repo` right, or a log-in page in between?",
    "%elsewhere": "the server sends on to another place: give the new address as repo",
    "%dumb": "the server hands out plain files and runs no git: let it serve the repository by "
    "git http-backend, or give an address for ssh, or a bundle",
    "%full": "make room (see `df -h`), or keep large files out of the repository",
}
# A look at each object that comes, before it is stored; git-fsck(1) explains the words.
_BAD_OBJECT = re.compile(r"^(?:error|fatal): (?:error in )?object [0-9a-f]+: (\w+): (.*)$", re.M)
_REFUSED = (
    r"Permission denied \(publickey|Host key verification failed|Authentication failed|"
    r"could not read Username|error: 40[134]"
)
_WITHHELD = r"not our ref|unadvertised object|remote ref does not|no such remote ref"


def reason(printed: str, otherwise: str) -> str:
    """Return the line that says why git failed."""
    every = [line.strip() for line in printed.splitlines() if line.strip()]
    lines = [line for line in every if line.startswith(("fatal:", "error:"))]
    if lines and "Could not read from remote repository" in lines[0]:
        # git only knows that ssh ended; what ssh said, or the server through it, stands before.
        lines = every[: every.index(lines[0])][-1:] or lines
    return (lines[0] if lines else otherwise).removeprefix("fatal: ")


def hint(printed: str) -> str:
    """Return what to do about it, "" when nothing is known."""
    found = next((hint for sign, hint in _HINTS if re.search(sign, printed)), "")
    return _LONGER.get(found, found)


def bad_object(printed: str) -> str:
    """Return what is wrong with an object of the repository itself, "" when nothing is."""
    match = _BAD_OBJECT.search(printed)
    return f"{match[1]}: {match[2]}" if match else ""


def withheld(printed: str) -> bool:
    """Tell whether a server does not give out a commit because no ref points at it."""
    return re.search(_WITHHELD, printed) is not None


def refused(printed: str) -> bool:
    """Tell whether the server answered, and did not let the device in."""
    return re.search(_REFUSED, printed) is not None


def host_key(printed: str) -> str:
    """Return the fingerprint of the key with which a server surprised ssh, "" if it did not."""
    if "HOST IDENTIFICATION HAS CHANGED" not in printed:
        return ""
    match = re.search(r"fingerprint for the (\S+) key .*\s+(SHA256:[A-Za-z0-9+/]+)", printed)
    return f"{match[1]} {match[2]}" if match else "unknown"
