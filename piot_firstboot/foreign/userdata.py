"""cloud-init's user-data: a #cloud-config, as Raspberry Pi Imager 2 and people write it."""

from __future__ import annotations

import re

from piot_firstboot.foreign import cloudfile, cloudusers
from piot_firstboot.foreign.carried import Carried, Draft
from piot_firstboot.foreign.cloudfile import Block
from piot_firstboot.yamltext import Scalar, Sequence

# What PioT, or the system without cloud-init, does anyway.
_COVERED = (
    "manage_etc_hosts preserve_hostname package_update resize_rootfs growpart final_message "
    "disable_root ssh_quiet_keygen ssh_deletekeys create_hostname_file"
).split()
_JOB = "make it a job: [job.NAME] with run = … and once = device"
_RASPI = "run `raspi-config` on the device, or edit config.txt"
_WHY = {
    "runcmd": _JOB,
    "bootcmd": "make it a job: [job.NAME] with run = … and once = boot",
    "write_files": "put the files into the repository of your app",
    "package_upgrade": "to keep the system up to date, add [update] system = all",
    "package_reboot_if_required": "add [update] reboot = if-needed",
    "mounts": "add the lines to /etc/fstab on the device",
    "groups": "PioT makes no groups; name existing ones with groups = … of [user]",
    "rpi": _RASPI,
    "power_state": "PioT does not shut the device down after its first boot",
    "ca_certs": "copy them to /usr/local/share/ca-certificates, run update-ca-certificates",
}
_HEADS = (
    ("## template:", "this user-data is a template", "put values in place of its {{ … }} first"),
    ("#!", "this user-data is a script", "write what it does as settings, or as jobs"),
    ("#include", "this user-data names other files", "import those"),
    ("#part-handler", "this user-data is a part handler", "it is a program, not settings"),
    ("#cloud-boothook", "this user-data is a script", "write what it does as settings, or as jobs"),
    ("#cloud-config-archive", "this user-data is an archive", "import its parts one by one"),
)
_MIME = re.compile(r"(content-type|mime-version):", re.IGNORECASE)


def carry(data: bytes, source: str = "user-data") -> Carried:
    """Read a user-data. Raises ConfigError."""
    draft = Draft(source)
    head = data.removeprefix(b"\xef\xbb\xbf")[:40].decode("latin-1")
    for start, message, hint in _HEADS:
        if head.startswith(start):
            draft.problem(1, 1, message, hint)
            return draft.done()
    if _MIME.match(head):
        draft.problem(1, 1, "this user-data has several parts", "import each as a file of its own")
        return draft.done()
    root = cloudfile.read(draft, data)
    if root is None:
        return draft.done()
    _device(root)
    cloudusers.carry(root)
    _packages(root)
    _time(root)
    root.drop(*_COVERED)
    for key, why in _WHY.items():
        root.leave(key, why)
    root.leave_rest()
    return draft.done()


def _device(root: Block) -> None:
    """Carry host name, time zone, language and keyboard over."""
    draft = root.draft
    name, full = ("hostname", "fqdn") if "hostname" in root.pairs else ("fqdn", "")
    line, text = root.line(name), root.text(name)
    if text:
        draft.put("device", "hostname", text.partition(".")[0], line)
    if full:
        root.leave(full, "PioT sets the host name only; the domain is the network's")
    elif "." in text:
        draft.leave(line, name, "PioT sets the host name only; the domain is the network's")
    root.drop("prefer_fqdn_over_hostname")
    for key in ("timezone", "locale"):
        line, text = root.line(key), root.text(key)
        if text and text.lower() != "false":
            draft.put("device", key, text, line)
    keyboard = root.block("keyboard")
    line, layout = keyboard.line("layout"), keyboard.text("layout")
    if layout:
        draft.put("device", "keyboard", layout, line)
    line, model = keyboard.line("model"), keyboard.text("model")
    if model not in ("", "pc105"):  # what there is without it
        draft.leave(line, "keyboard.model", cloudfile.NO_SETTING)
    keyboard.leave_rest()


def _packages(root: Block) -> None:
    """Carry the packages to install over; a fixed version or another source is left."""
    for node in root.nodes("packages"):
        if isinstance(node, Scalar):
            root.draft.put("update", "packages", node.text.strip(), node.place.line)
        elif isinstance(node, Sequence) and node.items and isinstance(node.items[0], Scalar):
            name = node.items[0].text.strip()
            root.draft.put("update", "packages", name, node.place.line)
            why = "PioT installs the version that the system's sources offer"
            root.draft.leave(node.place.line, f"the version of {name}", why)
        else:
            root.draft.leave(node.place.line, "packages", "PioT installs Debian's packages only")
    if root.pairs.get("package_upgrade") and not cloudfile.flag(root.pairs["package_upgrade"][1]):
        root.drop("package_upgrade")


def _time(root: Block) -> None:
    """Carry the time servers over."""
    if isinstance(root.pairs.get("ntp", (None, None))[1], Scalar):
        root.leave("ntp", "PioT leaves it to the system unless [time] names servers")
        return
    ntp = root.block("ntp")
    for key in ("servers", "pools"):
        line = ntp.line(key)
        root.draft.put_all("time", "ntp", ntp.texts(key), line)
    ntp.drop("enabled")
    ntp.leave_rest()
