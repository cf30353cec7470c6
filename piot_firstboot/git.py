"""How PioT calls git: text and nothing else, so that the idle poll may load it for nothing.

git runs with none of the machine's or the user's configuration, asks nothing at a terminal, and
gives up on a line that is stuck. Credentials are named by paths: they are neither in its words nor
in its environment.
"""

CONTAINED = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "gc.auto=0",
    # Names that only other file systems take for .git, refused here too.
    "-c",
    "core.protectHFS=true",
    "-c",
    "core.protectNTFS=true",
    # No helper but the one that `reach` names.
    "-c",
    "credential.helper=",
)

ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    # Debian's git reads the bundle and then each file of the directory: the same trust twice.
    # An empty directory leaves the bundle, and two thirds of the work away. Bookworm's needs the
    # bundle named.
    "GIT_SSL_CAINFO": "/etc/ssl/certs/ca-certificates.crt",
    "GIT_SSL_CAPATH": "",
    # Less than 200 bytes a second for a minute is a dead line, not a slow one. A fetch cannot be
    # resumed, so a line that is cut off for being slow would never bring anything.
    "GIT_HTTP_LOW_SPEED_LIMIT": "200",
    "GIT_HTTP_LOW_SPEED_TIME": "60",
}

TRUSTED = "[safe]\n\tdirectory = *\n"  # for a repository on the device that a person owns

_TAGS = "refs/tags/piot/"
# A server may send the client on, but never to a weaker protocol or into the file system.
_ALLOWED = {"http": "http:https"}
_SSH = (
    "ssh -F none -oBatchMode=yes -oPreferredAuthentications=publickey -oIdentitiesOnly=yes"
    " -oIdentityAgent=none -oGlobalKnownHostsFile=/dev/null -oUpdateHostKeys=no"
    " -oHashKnownHosts=no -oCheckHostIP=no -oClearAllForwardings=yes"
    " -oConnectTimeout=20 -oServerAliveInterval=15"
)


def kind(url: str) -> str:
    """Return the scheme of an address: https, http, ssh, git or file."""
    scheme, separator, _ = url.partition("://")
    if separator:
        return scheme
    return "ssh" if ":" in url.partition("/")[0] else "file"


def server(url: str) -> str:
    """Return an http or https address up to where its path begins, as git names servers."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def reach(
    url: str,
    *,
    key: str = "",
    hosts: str = "",
    first: bool = False,
    token: str = "",
    trusted: str = "",
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return the options and the environment with which git reaches a server.

    All are paths: of the private key, of the known_hosts file (which takes a new host in if it is
    the `first` contact), of user name and token as git-credential(1) has them, and of a
    configuration that trusts a repository on this device.
    """
    way = kind(url)
    options: tuple[str, ...] = CONTAINED
    environment = {**ENVIRONMENT, "GIT_ALLOW_PROTOCOL": _ALLOWED.get(way, way)}
    if way == "ssh":
        strict = "accept-new" if first else "yes"
        environment["GIT_SSH_COMMAND"] = (
            f"{_SSH} -oStrictHostKeyChecking={strict} -oUserKnownHostsFile={hosts or '/dev/null'}"
            f" -oIdentityFile={key or 'none'}"
        )
    if token:
        # For this server only: to another one that it sends us to, git finds nothing to say.
        options += ("-c", f"credential.{server(url)}.helper=!cat {token} #")
    if trusted:
        environment["GIT_CONFIG_GLOBAL"] = trusted
    return options, environment


def login(user: str, token: bytes) -> bytes:
    """Write a user name and a token as git-credential(1) has them."""
    return f"username={user}\npassword=".encode() + token + b"\n"


def wanted(ref: str) -> tuple[str, ...]:
    """Return the words that ask `ls-remote` for a full ref and PioT's own tags in one question.

    --heads and --tags limit what the server sends; without, it sends every pull request's.
    """
    if ref.startswith("refs/tags/"):
        return ("--tags",)
    return ("--heads", "--tags") if ref.startswith("refs/heads/") else ()


def prefixes(ref: str) -> tuple[str, ...]:
    """Return with what the names of these refs begin."""
    return (ref, _TAGS)


def patterns(ref: str) -> tuple[str, ...]:
    """Return which refs to list: one, what it stands for if it is an annotated tag, and orders."""
    return (ref, f"{ref}^{{}}", f"{_TAGS}*")


def orders(refs: dict[str, str]) -> str:
    """Return PioT's own tags among refs, in one line: `block/COMMIT go/COMMIT hold`."""
    names = (name[len(_TAGS) :] for name in refs if name.startswith(_TAGS))
    return " ".join(sorted(name for name in names if not name.endswith("^{}")))
