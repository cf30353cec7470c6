"""rpi-preseed.toml, which Raspberry Pi's rpi-preseed applies (its schema, version 1)."""

from __future__ import annotations

from piot_firstboot.foreign import tomlfile, wifinet
from piot_firstboot.foreign.carried import Carried, Draft
from piot_firstboot.foreign.imager import put_login, put_password, put_text
from piot_firstboot.foreign.tomlfile import Table

_SECURITY = {"none": "open", "owe": "owe", "wpa-psk": "", "sae": "wpa3"}
_LATER = {
    "connect": "run `rpi-connect signin` on the device",
    "interfaces": "run `raspi-config` on the device, or edit config.txt",
    "boot": "edit config.txt and cmdline.txt on the boot partition",
    "ca_certificates": "copy them to /usr/local/share/ca-certificates, run update-ca-certificates",
    "mounts": "add the lines to /etc/fstab on the device",
    "runcmd": "make each a job: [job.NAME] with run = … and once = device",
}


def carry(data: bytes, source: str = "rpi-preseed.toml") -> Carried:
    """Read an rpi-preseed.toml. Raises ConfigError."""
    draft = Draft(source)
    root = tomlfile.read(draft, data)
    if root is None:
        return draft.done()
    version = root.take("config_version")
    if not str(version).startswith("1."):
        draft.leave(root.line("config_version"), "config_version", "this is read as version 1")
    system = root.table("system")
    put_text(system, "hostname", "device", "hostname")
    system.leave_rest()
    _people(root.table("user"), root.table("ssh"))
    _wifi(root.table("wlan"))
    _ethernet(root.table("ethernet"))
    _locale(root.table("locale"))
    _time(root.table("time"))
    _packages(root.table("packages"))
    for name, why in _LATER.items():
        if any(root.table(name).values.values()):
            draft.leave(root.lines.get(name, 0), f"[{name}]", why)
    root.values.pop("debug", None)
    root.leave_rest()
    return draft.done()


def _people(user: Table, ssh: Table) -> None:
    """Carry the user over, and the keys, which are the user's."""
    draft = user.draft
    named = bool(put_text(user, "name", "user", "name"))
    if named:
        put_password(user, encrypted=False)
        nopasswd = user.flag("passwordless_sudo")
        line, groups = user.line("groups"), user.texts("groups")
        if nopasswd or "sudo" in groups:
            word = "nopasswd" if nopasswd else "password"
            draft.put("user", "sudo", word, user.line("passwordless_sudo") if nopasswd else line)
        draft.put_all("user", "groups", (name for name in groups if name != "sudo"), line)
    user.leave_rest("no user is named; add [user] with name = … to the piot.conf")
    put_login(ssh, named)
    ssh.leave_rest()


def _wifi(wlan: Table) -> None:
    """Carry the Wi-Fi network over."""
    draft = wlan.draft
    put_text(wlan, "country", "wifi.*", "country")
    line, text, hexed = wlan.line("ssid"), wlan.text("ssid"), wlan.text("ssid_hex")
    ssid = wifinet.ssid_bytes(text)
    if hexed:
        line = wlan.line("ssid_hex")
        try:
            ssid = bytes.fromhex(hexed)
        except ValueError:
            draft.problem(line, 1, "[wlan] ssid_hex must be pairs of hexadecimal digits")
    network = wifinet.Network(ssid, line)
    network.places = {key: wlan.line(key) for key in ("password", "hidden")}
    network.places["security"] = wlan.line("key_mgmt")
    network.password = wlan.text("password")
    network.hidden = bool(wlan.flag("hidden"))
    wlan.values.pop("password_encrypted", None)  # the digits show it
    kind = wlan.text("key_mgmt")
    if kind in _SECURITY:
        network.security = _SECURITY[kind]
    elif kind:
        draft.leave(wlan.line("key_mgmt"), "[wlan] key_mgmt", "PioT knows none such")
    if kind in ("wpa-psk", "sae") and not network.password and ssid:
        network.security = "wpa3" if kind == "sae" else "wpa2"
        draft.leave(line, "[wlan] password", wifinet.NO_PASSWORD)
    if ssid:
        wifinet.put(draft, network, set())
    elif network.password:
        draft.leave(wlan.line("password"), "[wlan] password", "there is no ssid")
    wlan.leave_rest()


def _ethernet(wired: Table) -> None:
    """Carry a fixed address over; DHCP needs no section."""
    method = wired.text("method") or "dhcp"
    if method != "static":
        if method != "dhcp":
            why = "PioT does not switch wired networks off"
            wired.draft.leave(wired.line("method"), "[ethernet] method", why)
        wired.leave_rest("this counts with method static only")
        return
    section = f"ethernet.{wifinet.plain_name(str(wired.values.get('interface', '')), 'wired')}"
    put_text(wired, "interface", section, "interface")
    for key in ("address", "gateway", "dns"):
        line = wired.line(key)
        wired.draft.put_all(section, key, wired.texts(key), line)
    wired.leave_rest()


def _locale(locale: Table) -> None:
    """Carry language, keyboard and time zone over."""
    put_text(locale, "keymap", "device", "keyboard")
    put_text(locale, "timezone", "device", "timezone")
    line, names = locale.line("locales"), locale.texts("locales")
    main = put_text(locale, "lang", "device", "locale")
    if not main and names:
        main = names[0]
        locale.draft.put("device", "locale", main, line)
    if any(name != main for name in names):
        why = "PioT makes one locale; make the others with `dpkg-reconfigure locales`"
        locale.draft.leave(line, "[locale] locales", why)
    if locale.values.get("keymap_model") == "pc105":  # what there is without it
        locale.values.pop("keymap_model")
    locale.leave_rest()


def _time(time: Table) -> None:
    """Carry the time servers over."""
    for key in ("ntp", "fallback_ntp"):
        line = time.line(key)
        time.draft.put_all("time", "ntp", time.texts(key), line)
    time.leave_rest()


def _packages(packages: Table) -> None:
    """Carry the packages to install over."""
    line = packages.line("install")
    packages.draft.put_all("update", "packages", packages.texts("install"), line)
    packages.values.pop("update", None)  # before an installation PioT does so
    if packages.values.get("upgrade") is False:
        packages.values.pop("upgrade")
    packages.leave("upgrade", "to keep the system up to date, add [update] system = all")
    packages.leave("remove", "PioT removes no packages of the system; run `apt-get remove`")
    packages.leave_rest()
