"""custom.toml, which Raspberry Pi Imager and people write for Raspberry Pi OS Bookworm.

What each key means is read from init_config of raspberrypi-sys-mods.
"""

from __future__ import annotations

from piot_firstboot.foreign import tomlfile, wifinet
from piot_firstboot.foreign.carried import Carried, Draft
from piot_firstboot.foreign.tomlfile import Table


def carry(data: bytes, source: str = "custom.toml") -> Carried:
    """Read a custom.toml. Raises ConfigError."""
    draft = Draft(source)
    root = tomlfile.read(draft, data)
    if root is None:
        return draft.done()
    if root.take("config_version") != 1:
        draft.leave(root.line("config_version"), "config_version", "this is read as version 1")
    system = root.table("system")
    put_text(system, "hostname", "device", "hostname")
    system.leave_rest()
    user, ssh = root.table("user"), root.table("ssh")
    named = _user(user)
    put_login(ssh, named)
    ssh.leave_rest()
    _wifi(root.table("wlan"))
    locale = root.table("locale")
    put_text(locale, "keymap", "device", "keyboard")
    put_text(locale, "timezone", "device", "timezone")
    locale.leave_rest()
    root.leave_rest()
    return draft.done()


def put_text(table: Table, key: str, section: str, name: str) -> str:
    """Carry a text over as it stands, if there is one, and return it."""
    value = table.text(key)
    if value:
        table.draft.put(section, name, value, table.line(key))
    return value


def put_password(table: Table, *, encrypted: bool) -> None:
    """Carry the password of the user over, as what it is."""
    line = table.line("password")
    password, given = table.text("password"), table.flag("password_encrypted")
    # The tools' own default is not what people mean by a password that is no hash.
    hashed = looks_hashed(password) if given is None and encrypted else bool(given)
    if password:
        table.draft.put("user", "password_hash" if hashed else "password", password, line)


def looks_hashed(password: str) -> bool:
    """Tell whether a password is one in crypt(5) format."""
    return password in ("!", "*") or (password.startswith("$") and password.count("$") > 2)


def put_login(ssh: Table, named: bool) -> None:
    """Carry `[ssh]` over; keys belong to the user, who must be named."""
    draft = ssh.draft
    enabled, login = ssh.flag("enabled"), ssh.flag("password_authentication")
    if enabled is not None:
        draft.put("ssh", "enabled", enabled, ssh.line("enabled"))
    if login is not None:
        draft.put("ssh", "password_login", login, ssh.line("password_authentication"))
    for key, name in (("authorized_keys", "authorized_key"), ("ssh_import_id", "import_keys")):
        line, values = ssh.line(key), ssh.texts(key)
        if values and not named:
            why = "no user is named; add [user] with name = … and the keys to the piot.conf"
            draft.leave(line, f"[ssh] {key}", why)
        elif values:
            draft.put_all("user", name, (value.strip() for value in values), line)


def _user(user: Table) -> bool:
    """Carry `[user]` over and tell whether it has a name."""
    line, name = user.line("password"), put_text(user, "name", "user", "name")
    if name:
        put_password(user, encrypted=True)
    elif user.text("password"):
        user.draft.leave(line, "[user] password", "there is no name that it belongs to")
    user.values.pop("password_encrypted", None)
    user.leave_rest()
    return bool(name)


def _wifi(wlan: Table) -> None:
    """Carry `[wlan]` over."""
    put_text(wlan, "country", "wifi.*", "country")
    network = wifinet.Network(wifinet.ssid_bytes(wlan.text("ssid")), wlan.line("ssid"))
    network.places = {"password": wlan.line("password"), "hidden": wlan.line("hidden")}
    network.password = wlan.text("password")
    network.hidden = bool(wlan.flag("hidden"))
    encrypted = wlan.flag("password_encrypted")
    if network.password and encrypted and not wifinet.is_key(network.password):
        why = "this is said to be a key, but is not one of 64 hexadecimal digits"
        wlan.draft.leave(wlan.line("password"), "[wlan] password", f"{why}; write it anew")
        network.password, network.security = "", "wpa2"  # so that it is not taken for an open one
    if network.ssid:
        wifinet.put(wlan.draft, network, set())
    elif network.password:
        wlan.draft.leave(wlan.line("password"), "[wlan] password", "there is no ssid")
    wlan.leave_rest()
