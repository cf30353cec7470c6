"""Fetch people's public SSH keys from where they publish them."""

from __future__ import annotations

import time

from piot_firstboot.errors import ApplyError
from piot_firstboot.notify import say
from piot_firstboot.sshkey import authorized_key

# Where the two services publish keys, as ssh-import-id(1) knows them.
PAGES = {
    "gh": "https://github.com/{}.keys",
    "lp": "https://launchpad.net/~{}/+sshkeys",
}
PATIENCE = 20.0  # seconds without a byte, and for the whole answer
_MOST = 64 * 1024  # bytes
_MOST_KEYS = 50


def fetch(source: str) -> tuple[str, ...]:
    """Return the keys of `gh:NAME` or `lp:NAME`, each judged good; one that is not is left out.

    Raises ApplyError when there is no such name, no key, or no answer.
    """
    service, _, name = source.partition(":")
    url = PAGES[service].format(name)
    keys = []
    for number, line in enumerate(_page(url, name).decode("utf-8", "replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        try:
            keys.append(_plain_key(text))
        except ValueError as error:
            say(f"{url}: line {number} is left out: {error}")
    if not keys:
        raise ApplyError(f"{url}: no usable key stands there", f"let {name} add a key there")
    return tuple(dict.fromkeys(keys))[:_MOST_KEYS]


def _plain_key(text: str) -> str:
    """Judge a key; a server may not say what it may be used for, nor hide a line in it."""
    if not text.isprintable():
        raise ValueError("there are invisible characters in it")
    if authorized_key(text).split()[0].startswith(("ssh-", "ecdsa-", "sk-")):
        return text
    raise ValueError("there are options before the key")


def _page(url: str, name: str) -> bytes:
    """Fetch a page of bounded size in bounded time."""
    import requests

    data, until = b"", time.monotonic() + PATIENCE
    try:
        with requests.get(url, timeout=PATIENCE, stream=True, allow_redirects=False) as answer:
            if answer.status_code == 404:
                hint = f"correct the name in import_keys, or remove it if {name} has left"
                raise ApplyError(f"{url}: nobody is called {name} there", hint)
            if answer.status_code != 200:
                raise ApplyError(f"{url} answers {answer.status_code} {answer.reason}")
            for piece in answer.iter_content(4096):
                data += piece
                if len(data) > _MOST:
                    raise ApplyError(f"{url}: this is more than {_MOST // 1024} KiB, and no keys")
                if time.monotonic() > until:
                    raise ApplyError(f"{url}: no end of the answer in {PATIENCE:.0f} s")
    except requests.Timeout:
        raise ApplyError(f"{url}: no answer in time") from None
    except requests.RequestException as error:
        raise ApplyError(f"{url}: {_words(error)}") from None
    return data


def _words(error: Exception) -> str:
    """Say what went wrong without the names of classes and their addresses in memory."""
    text = str(error)
    known = {
        "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted; is the clock right?",
        "Name or service not known": "its name cannot be resolved",
        "Temporary failure in name resolution": "its name cannot be resolved",
        "Connection refused": "connection refused",
        "Network is unreachable": "there is no network",
    }
    return next((words for mark, words in known.items() if mark in text), "no connection")
