"""Updates of the system: unattended-upgrades is told which, apt's own timers when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from piot_firstboot.config import Config
from piot_firstboot.facts import Facts
from piot_firstboot.items import File, Item, Package, Unit
from piot_firstboot.plan import Part
from piot_firstboot.render.origin import COMMENT
from piot_firstboot.schedule import format_span
from piot_firstboot.sections.update import Update
from piot_firstboot.unitfile import UnitFile

# apt takes the last value that it meets; Debian's own files are 20auto-upgrades and
# 50unattended-upgrades.
APT = "/etc/apt/apt.conf.d/52piot"
_FETCH, _INSTALL = "apt-daily.timer", "apt-daily-upgrade.timer"
_DAY = 24 * 60  # minutes

_CODE = "codename=${distro_codename}"
# Each distribution calls its archives otherwise; what a device does not use matches nothing.
_SECURITY = (
    f"origin=Debian,{_CODE},label=Debian-Security",
    f"origin=Debian,{_CODE}-security,label=Debian-Security",
    "origin=Ubuntu,archive=${distro_codename}-security",
    # 32-bit Raspberry Pi OS: what closes holes comes through its only archive.
    f"origin=Raspbian,{_CODE},label=Raspbian",
)
_ALL = (
    *_SECURITY,
    f"origin=Debian,{_CODE},label=Debian",
    f"origin=Debian,{_CODE}-updates,label=Debian",
    "origin=Ubuntu,archive=${distro_codename}",
    "origin=Ubuntu,archive=${distro_codename}-updates",
    # Kernel, firmware and desktop of Raspberry Pi OS.
    f"origin=Raspberry Pi Foundation,{_CODE},label=Raspberry Pi Foundation",
)


def render(config: Config, facts: Facts) -> Iterable[Part]:
    """Render `[update]`."""
    update = config.update
    packages = [Package(name) for name in update.packages]
    if update.system in ("security", "all"):
        packages.insert(0, Package("unattended-upgrades"))
    items = tuple(_system(update))
    if items:
        yield Part("update", items)
    if packages:
        yield Part("update", tuple(dict.fromkeys(packages)), late=True)


def _system(update: Update) -> Iterator[Item]:
    """Say which updates are installed, and when."""
    if update.system is None:
        return
    yield File(APT, _apt(update).encode())
    if update.system == "off":
        return
    if update.window is not None:
        start, end = update.window
        half = ((end - start) % _DAY) // 2
        for timer, begin in ((_FETCH, start), (_INSTALL, start + half)):
            path = f"/etc/systemd/system/{timer}.d/piot.conf"
            yield File(path, _within(begin % _DAY, half).encode())
    # A changed schedule needs no restart, which could make up for a missed run at once.
    yield Unit(_FETCH, active=True, enabled=True)
    yield Unit(_INSTALL, active=True, enabled=True)


def _apt(update: Update) -> str:
    """Write the settings of apt and of unattended-upgrades."""
    lines = [f"//{COMMENT.removeprefix('#')}"]
    if update.system == "off":
        lines.append('APT::Periodic::Unattended-Upgrade "0";')
        return "\n".join(lines) + "\n"
    origins = _SECURITY if update.system == "security" else _ALL
    reboot = "true" if update.reboot == "if-needed" else "false"
    lines += [
        'APT::Periodic::Enable "1";',
        'APT::Periodic::Update-Package-Lists "1";',
        'APT::Periodic::Unattended-Upgrade "1";',
        "#clear Unattended-Upgrade::Allowed-Origins;",
        "#clear Unattended-Upgrade::Origins-Pattern;",
        "Unattended-Upgrade::Origins-Pattern {",
        *(f'  "{origin}";' for origin in origins),
        "};",
        f'Unattended-Upgrade::Automatic-Reboot "{reboot}";',
        'Unattended-Upgrade::Automatic-Reboot-Time "now";',
    ]
    return "\n".join(lines) + "\n"


def _within(begin: int, minutes: int) -> str:
    """Let a timer of apt start at a moment of its own within these minutes of the day, or not."""
    unit = UnitFile("piot.conf", COMMENT.removeprefix("# "))
    unit.add("Timer", "OnCalendar", "")
    unit.add("Timer", "OnCalendar", f"*-*-* {begin // 60:02}:{begin % 60:02}")
    unit.add("Timer", "RandomizedDelaySec", format_span(minutes * 60))
    # Else a missed run is made up for at any time of the day.
    unit.add("Timer", "Persistent", "false")
    return unit.text()
