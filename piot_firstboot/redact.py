"""Secret values → `***`, in whatever spelling they turn up in a log."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from piot_firstboot.config import Config
from piot_firstboot.found import STORED
from piot_firstboot.privatekey import is_text

MASK = "***"
SHORTEST = 4  # characters; redacting shorter values would make any text unreadable


def secret_values(config: Config) -> tuple[str, ...]:
    """List the values of all keys whose row says that they are secret, each once."""
    found = []
    for part in config.found:
        for key, entry in part.entries.items():
            row = part.rows.get(key) or part.rows["*"]
            if row.sensitivity == "secret":
                value = part.values.get(key if row.key == "*" else row.attribute)
                if row.file and not is_text(str(value)):
                    continue  # the name of a file is for everyone to read
                # Both what is meant and what was written.
                found += [str(value), entry.value] if value != entry.value else [str(value)]
    return tuple(dict.fromkeys(value for value in found if value not in ("", STORED)))


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace every secret by `***`, also where it is quoted for a URL or JSON, or in base64.

    Of a secret of several lines, each line counts. What is shorter than 4 characters stays.
    """
    spans = sorted(
        (start, start + len(form))
        for form in {form for secret in secrets for form in _forms(secret)}
        for start in _places(text, form)
    )
    pieces = []
    at = 0
    begin = end = -1
    for start, stop in spans:
        if start > end:
            if end > begin:
                pieces += [text[at:begin], MASK]
                at = end
            begin, end = start, stop
        else:
            end = max(end, stop)
    if end > begin:
        pieces += [text[at:begin], MASK]
        at = end
    return "".join([*pieces, text[at:]])


def _places(text: str, form: str) -> Iterator[int]:
    """Find every place of a text, overlapping ones too."""
    at = text.find(form)
    while at >= 0:
        yield at
        at = text.find(form, at + 1)


def _forms(secret: str) -> Iterator[str]:
    """Spell a secret in all the ways in which it may be written."""
    for part in {secret, secret.strip(), *secret.splitlines()}:
        if len(part) < SHORTEST:
            continue
        data = part.encode("utf-8", "surrogatepass")
        yield part
        for quoted in (quote(data, safe=""), quote(data), quote_plus(data)):
            yield quoted
            yield _lower_hex(quoted)
        for ascii_only in (True, False):
            yield json.dumps(part, ensure_ascii=ascii_only)[1:-1]
        # Basic authentication encodes `user:secret`: what stands before it shifts the secret
        # against base64's groups of three bytes. The characters at the ends that depend on the
        # neighbours are left out.
        for shift, lead in ((0, 0), (1, 2), (2, 3)):
            whole = (shift + len(data)) * 8 // 6
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                form = encode(b"\0" * shift + data).decode()[lead:whole]
                if len(form) >= SHORTEST:
                    yield form


def _lower_hex(quoted: str) -> str:
    """Spell percent escapes with lower-case digits, as some programs do."""
    pieces = quoted.split("%")
    return "%".join([pieces[0], *(piece[:2].lower() + piece[2:] for piece in pieces[1:])])
