"""Profiles as NetworkManager itself reads them: through its own library, without a daemon."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from typing import Any

import pytest

from piot_firstboot.render import keyfile

try:
    import gi

    gi.require_version("NM", "1.0")
    from gi.repository import NM, GLib
except (ImportError, ValueError):
    # Continuous integration must fail rather than pass for want of a library.
    if "CI" in os.environ:
        raise
    pytest.skip("needs python3-gi and gir1.2-nm-1.0", allow_module_level=True)

__all__ = ["NM", "GLib", "Read", "read"]


@dataclass(frozen=True, slots=True)
class Read:
    """A profile as NetworkManager understood it, and what it had to say."""

    profile: Any
    warnings: tuple[str, ...]

    @property
    def ssid(self) -> bytes:
        """Return the name of the network, byte for byte."""
        return bytes(self.profile.get_setting_wireless().get_ssid().get_data())

    @property
    def psk(self) -> str:
        """Return the password of the network."""
        return str(self.profile.get_setting_wireless_security().get_psk())


def read(content: bytes) -> Read:
    """Read a profile as the daemon does: parse, fill in, verify. Raises GLib.Error."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        keys = GLib.KeyFile()
        keys.load_from_file(file.name, GLib.KeyFileFlags.NONE)
    warnings: list[str] = []

    def handle(keys: Any, profile: Any, kind: Any, data: Any, user: Any) -> bool:
        warnings.append(str(data.warn_get()[0]))
        return False

    flags = NM.KeyfileHandlerFlags.NONE
    profile = NM.keyfile_read(keys, keyfile.FOLDER, flags, handle, None)
    profile.normalize()
    profile.verify()
    profile.verify_secrets()
    return Read(profile, tuple(warnings))
