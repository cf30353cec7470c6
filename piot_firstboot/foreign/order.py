"""In what order sections and keys stand in a piot.conf that was imported, and which may repeat."""

from __future__ import annotations

KEYS: dict[str, tuple[str, ...]] = {
    "device": ("hostname", "timezone", "locale", "keyboard"),
    "user": (
        "name", "password", "password_hash", "authorized_key", "import_keys", "groups", "sudo",
        "shell",
    ),
    "ssh": ("enabled", "password_login", "authorized_key", "port"),
    "wifi": (
        "ssid", "ssid_hex", "password", "psk_hex", "security", "country", "hidden", "priority",
        "eap", "identity", "anonymous_identity", "ca_cert", "client_cert", "client_key", "phase2",
        "address", "gateway", "dns",
    ),
    "ethernet": ("interface", "address", "gateway", "dns", "vlan", "dns_search"),
    "time": ("ntp",),
    "update": ("system", "packages"),
}  # fmt: skip
SECTIONS = tuple(KEYS)
MANY = frozenset(
    "authorized_key import_keys groups address gateway dns dns_search ntp packages".split()
)


def kind(section: str) -> str:
    """Return the section without its NAME."""
    return section.partition(".")[0]
