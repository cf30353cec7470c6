"""What users of other first-boot tools suffer from, one by one, on the tree of a small Debian.

What shows only on a booted machine bears the same names in tests/machine; the power cut in mid
first boot is in test_kill_firstboot.py, at every change that it makes.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from piot_firstboot import clock, firstboot, idle, manual, settings, vault
from piot_firstboot.config import parse
from piot_firstboot.errors import ConfigError
from piot_firstboot.items import File, Package, State, key
from piot_firstboot.render import render_config
from piot_firstboot.report import Report
from tests.kit.nmlib import read
from tests.kit.small import Tree
from tests.unit.test_cases_conf import CASES, FACTS, KNOWN, NAMES, STORED

PROJECT = Path(__file__).parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP60Jb5IUMtw4XyjIaeW+nxoJyu2oD9i59eaaXTy6QIa"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOB5IJq4WkfjuxH90Y3msiyt+J+xfqGkPOWEhagFFNM5"
CONF = f"""\
[device]
hostname = garden
[user]
name = ada
authorized_key = {KEY} ada@laptop
[ssh]
password_login = no
"""
WIFI = "[wifi]\nssid = Home\npassword = correct horse\ncountry = DE\n"
PROFILE = "etc/NetworkManager/system-connections/piot-wifi.nmconnection"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make a tree that has NetworkManager."""
    made = Tree(tmp_path)
    made.system.write("/usr/sbin/NetworkManager", b"", 0o755)
    return made


def apply(tree: Tree, text: str | None = None) -> Report:
    """Write piot.conf, if it is given, and do what a boot does."""
    if text is not None:
        tree.conf(text)
    return firstboot.converge(tree.system, boot=True)


def test_customisation_silently_ignored(tree: Tree) -> None:
    """Every line of the file is answered for in the report; what acts on nothing says so."""
    whole = re.sub(r"(?m)^#(?=\S)", "", manual.example())
    alternatives = "ssid_hex psk_hex eap identity anonymous_identity ca_cert client_cert client_key"
    others = "password phase2 deploy_key every once"
    for name in (*alternatives.split(), *others.split()):
        whole = re.sub(rf"(?m)^{name} = .*\n", "", whole)
    report = apply(tree, whole.replace("groups = gpio", "groups = users"))
    lines = whole.splitlines()
    given = {number for number, line in enumerate(lines, 1) if re.match(r"\w+ = ", line)}
    assert report.lines, report.text()
    assert {line.line for line in report.lines} == given and len(given) > 40
    idle_keys = {(row.section, row.key) for row in settings.SETTINGS if row.idle}
    for line in report.lines:
        assert line.state in ("applied", "waiting", "failed", "noted")
        assert line.why or line.state == "applied", line
        acts = (line.section.partition(".")[0], line.key) not in idle_keys
        assert (line.state == "noted") is not acts, line
    # What nobody could know is an error, and not skipped.
    for wrong in ("[wifi]\nsid = x\n", "[wlan]\nssid = x\n", "hostname = x\n", "[device]\nx\n"):
        assert not apply(tree, wrong).ok
        assert (
            f"{tree.root}"
            not in (tree.system.read("/boot/firmware/piot-report.txt") or b"").decode()
        )


def test_wifi_blocked_for_want_of_a_country(tree: Tree) -> None:
    """Without a country: which line to add. With one: rules, radio and the next boot are told."""
    report = apply(tree, WIFI.replace("country = DE\n", ""))
    (problem,) = report.problems
    assert "country" in problem.message and problem.line == 1
    assert problem.hint == "add a line such as country = DE to this section"
    assert not (tree.root / PROFILE).exists()
    parts = render_config(parse(WIFI.encode()), FACTS)
    items = [item for part in parts for item in part.items]
    states = [(item.name, item.value) for item in items if isinstance(item, State)]
    assert states == [("regdom", "DE"), ("radio", "on")], "the rules of the country come first"
    assert "word /boot/firmware/cmdline.txt cfg80211.ieee80211_regdom" in map(key, items)


def test_edits_after_first_boot_ignored(tree: Tree) -> None:
    """An edit is noticed at the next boot, also one that leaves length and time as they were."""
    assert apply(tree, CONF).ok
    assert idle.unchanged(str(tree.root))
    path = tree.root / "boot/firmware/piot.conf"
    before = path.stat()
    path.write_text(CONF.replace("garden", "harden"))
    subprocess.run(["touch", "-d", f"@{before.st_mtime}", path], check=True)
    assert not idle.unchanged(str(tree.root))
    assert apply(tree).ok
    assert tree.read("etc/hostname") == "harden\n"


def test_no_clock_no_tls(tree: Tree, tmp_path: Path) -> None:
    """A device that wakes in 1970 takes a certificate that was made yesterday."""
    ca = tmp_path / "ca.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    argv += ["-days", "30", "-keyout", str(tmp_path / "key"), "-out", str(ca)]
    subprocess.run(argv, check=True, capture_output=True)

    def valid(moment: float) -> bool:
        check = ["openssl", "verify", "-attime", f"{moment:.0f}", "-CAfile", str(ca), str(ca)]
        return subprocess.run(check, capture_output=True).returncode == 0

    assert not valid(0)
    # The laptop that wrote the card knew the time.
    stamp = subprocess.run(
        ["date", "-u", "-d", "tomorrow", "+%FT%TZ"], check=True, capture_output=True
    )
    tree.system.write(f"/boot/firmware/{idle.CLOCK}", stamp.stdout)
    assert valid(clock.floor(tree.system))


def test_network_online_that_is_not() -> None:
    """Nothing of PioT's waits for a target that says nothing about the way to one server."""
    texts = [path.read_text() for path in (PROJECT / "units").rglob("*.*") if path.is_file()]
    for name in NAMES:
        if name.startswith("bad-"):
            continue
        data = (CASES / name / "piot.conf").read_bytes()
        for part in render_config(parse(data, known=KNOWN, stored=STORED), FACTS):
            files = [item for item in part.items if isinstance(item, File)]
            texts += [file.content.decode() for file in files]
    units = [text for text in texts if "[Unit]" in text]
    assert len(units) > 10
    for text in units:
        directives = [line for line in text.splitlines() if not line.startswith("#")]
        assert not [line for line in directives if "network-online" in line]


@pytest.mark.parametrize("text", ["Grüße 🌱 #1", "$HOME `id` %n", "a\"b'c", " lead", "=;[x]\\s"])
def test_special_characters_in_ssid_or_password(tree: Tree, text: str) -> None:
    """As they stand in the file they stand in the profile; every text: test_keyfile.py."""
    password = f"{text}-{text}" if len(text.encode()) < 8 else text
    quoted = f'"{text}"'
    assert apply(tree, f'[wifi]\nssid = {quoted}\npassword = "{password}"\ncountry = DE\n').ok
    found = read((tree.root / PROFILE).read_bytes())
    assert (found.ssid.decode(), found.psk) == (text, password)


@pytest.mark.parametrize("name", ["piot.conf", "PIOT.CONF", "piot.conf.txt", "Piot.Conf.TXT"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_bom_crlf_txt(tree: Tree, name: str, encoding: str) -> None:
    """However Notepad saves it."""
    text = (
        CONF.replace("\n", "\r\n").removesuffix("\r\n").replace("= garden", "=\u00a0garden\u00a0")
    )
    (tree.root / "boot/firmware" / name).write_bytes(text.encode(encoding))
    report = apply(tree)
    assert report.ok, report.text()
    assert tree.read("etc/hostname") == "garden\n"
    assert tree.read("home/ada/.ssh/authorized_keys") == f"{KEY} ada@laptop\n"


def test_customisation_in_a_second_file_ignored(tree: Tree) -> None:
    """Windows hides `.txt`: an edit of the wrong one of two files is told of, before and after."""
    (tree.root / "boot/firmware/Piot.conf.txt").write_text("[device]\nhostname = other\n")
    tree.conf(CONF)
    words = "Piot.conf.txt is not read, because piot.conf lies beside it"
    assert words in firstboot.plan(tree.system)[0].text()
    assert words in apply(tree).text()
    assert tree.read("etc/hostname") == "garden\n"
    assert words in tree.read("boot/firmware/piot-report.txt")


def test_locked_out_after_a_typo(tree: Tree) -> None:
    """A file that is wrong anywhere changes nothing; one that leaves no way in is wrong."""
    assert apply(tree, CONF).ok
    keys = tree.read("home/ada/.ssh/authorized_keys")
    drop_in = tree.read("etc/ssh/sshd_config.d/10-piot.conf")
    for typo in (
        CONF.replace("ssh-ed25519 AAAAC3", "ssh-ed25519 AAAC3"),
        CONF.replace("authorized_key =", "authorised_key ="),
        CONF.replace(KEY, KEY[:-9]),
        CONF.replace("[ssh]", "[shh]"),
        re.sub("authorized_key = .*\n", "", CONF),
        re.sub("authorized_key = .*\n", "password_hash = !\n", CONF),
        CONF.replace("password_login = no", "enabled = no"),
    ):
        report = apply(tree, typo)
        assert not report.ok and report.problems, typo
        assert tree.read("home/ada/.ssh/authorized_keys") == keys
        assert tree.read("etc/ssh/sshd_config.d/10-piot.conf") == drop_in
        assert "nothing was changed" in report.headline and "sudo piot apply" in report.next_step


def test_externally_managed_environment(tree: Tree) -> None:
    """PioT never runs pip for the system: packages of the system are Debian's, through apt."""
    text = "[update]\npackages = python3-gpiozero\n"
    parts = render_config(parse(text.encode()), FACTS)
    packages = [i for part in parts if part.late for i in part.items if isinstance(i, Package)]
    assert packages == [Package("python3-gpiozero")]
    sources = [path.read_text() for path in (PROJECT / "piot_firstboot").rglob("*.py")]
    assert not [text for text in sources if "break-system-packages" in text]


# -- the bugs of rpi-preseed --------------------------------------------------------------------


def test_rpi_preseed_loses_authorized_keys_and_locks_the_user_out(tree: Tree) -> None:
    """All keys of both sections arrive, for an account that is new and for one that is there."""
    text = CONF.replace("[ssh]\n", f"authorized_key = {OTHER} ada@desk\n[ssh]\n")
    third = OTHER.replace("M5", "M4")
    text += f"authorized_key = {third} ada@phone\n"
    assert apply(tree, text).ok
    path = tree.root / "home/ada/.ssh/authorized_keys"
    wanted = [f"{KEY} ada@laptop", f"{OTHER} ada@desk", f"{third} ada@phone"]
    assert path.read_text().splitlines() == wanted
    entry = tree.system.entry("/home/ada/.ssh/authorized_keys")
    assert entry and (entry.mode, entry.owner, entry.group) == (0o600, "ada", "ada")
    path.write_text(f"{OTHER} ada@desk\n")
    firstboot.converge(tree.system, everything=True)
    assert sorted(path.read_text().splitlines()) == sorted(wanted)


def test_rpi_preseed_writes_redacted_as_the_wifi_password(tree: Tree) -> None:
    """What stands in the file once the secret has left it is never taken for the password."""
    assert apply(tree, WIFI).ok
    assert "psk=correct horse\n" in tree.read(PROFILE)
    vault.put(tree.system, "wifi.password", "correct horse")
    data = (tree.root / "boot/firmware/piot.conf").read_bytes()
    found = parse(data).found
    entries = [found[0].entries["password"]]
    tree.system.mkdir("/var/lib/piot/secrets")
    assert vault.conceal(tree.system, "/boot/firmware/piot.conf", data, entries) == ""
    stored = tree.read("boot/firmware/piot.conf")
    assert stored == WIFI.replace("correct horse", "@stored")
    for again in (stored, stored.replace("Home", "Hom"), f"{stored}priority = 5\n"):
        report = apply(tree, again)
        assert report.ok and "psk=correct horse\n" in tree.read(PROFILE), again
    assert firstboot.converge(tree.system, everything=True).ok
    assert "psk=correct horse\n" in tree.read(PROFILE)
    # Should the store be lost, that is an error, and the profile stays.
    vault.drop(tree.system, "wifi.password")
    report = apply(tree, f"{stored}hidden = yes\n")
    assert not report.ok and "nothing is stored for password" in report.text()
    assert "psk=correct horse\n" in tree.read(PROFILE)


@pytest.mark.parametrize(
    "text",
    ["[wifi\nssid = x\n", "[device]\nhostname = = =\n", "hostname garden\n", "\0\0\0\0", "<html>"],
)
def test_rpi_preseed_stamps_applied_on_a_malformed_file(tree: Tree, text: str) -> None:
    """A file that cannot be read is no success, in no report, and is looked at again."""
    with pytest.raises(ConfigError):
        parse(text.encode())
    for _ in range(2):
        report = apply(tree, text)
        assert not report.ok and report.problems
        assert not idle.unchanged(str(tree.root))
        told = json.loads(tree.read("var/lib/piot/report.json"))
        assert told["ok"] is False and told["problems"]
        assert "is applied" not in tree.read("boot/firmware/piot-report.txt")
    assert apply(tree, CONF).ok
