"""Find out which certificate authority vouches for a server."""

from __future__ import annotations

import socket
import ssl
from urllib.parse import urlsplit

_STORE = "/etc/ssl/certs"  # Debian's, one file a certificate, found by the hash of its name
_TIMEOUT = 20.0  # seconds


def anchor(url: str) -> str:
    """Return, as PEM, the trusted certificates that were needed to verify an https server.

    "" for another kind of address, and where the server did not answer or was not trusted. Of a
    directory OpenSSL loads only the certificates that it uses, and
    ssl.SSLContext.get_ca_certs() lists those that were loaded.
    """
    try:
        found = _greet(url)
    except (OSError, ValueError):
        return ""
    return "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in found)


def judge(url: str) -> str:
    """Return what is wrong with the certificate of an https server, which git does not tell."""
    try:
        _greet(url)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message.rstrip(".")
    except (OSError, ValueError):
        pass
    return ""


def _greet(url: str) -> list[bytes]:
    """Shake hands with an https server and return the trusted certificates that this took."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(capath=_STORE)
    place = (parts.hostname, parts.port or 443)
    with (
        socket.create_connection(place, _TIMEOUT) as plain,
        context.wrap_socket(plain, server_hostname=parts.hostname),
    ):
        return context.get_ca_certs(binary_form=True)
