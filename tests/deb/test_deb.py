"""The package: what is in it, that both ways of building it agree, and that Debian accepts it."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.kit import deb
from tests.kit.tree import Entry, read_tree

pytestmark = pytest.mark.deb


@pytest.fixture(scope="module")
def package() -> Path:
    return deb.deb()


@pytest.fixture(scope="module")
def tree(package: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Entry]:
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(folder)], check=True)
    return read_tree(folder)


def _contents(package: Path) -> list[str]:
    """Return mode, owner and path of all that a deb holds, with symlink targets."""
    argv = ["dpkg-deb", "--contents", str(package)]
    shown = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    rows = [line.split(maxsplit=5) for line in shown.splitlines()]
    return sorted(f"{mode} {owner} {path}" for mode, owner, _, _, _, path in rows)


def _field(package: Path, name: str) -> list[str]:
    argv = ["dpkg-deb", "--field", str(package), name]
    shown = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return sorted(part.strip() for part in shown.split(","))


def test_lintian_finds_nothing(package: Path) -> None:
    assert deb.lintian(package) == ""


def test_both_ways_of_building_agree(package: Path) -> None:
    quick = deb.deb(stdeb=True)
    assert quick.name == package.name
    assert _contents(quick) == _contents(package)
    for field in ("Package", "Version", "Architecture", "Depends", "Recommends", "Suggests"):
        assert _field(quick, field) == _field(package, field), field


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    files = deb.inputs()
    once = deb.built(files, to=tmp_path / "once")
    deb.build(files, tmp_path / "again")
    assert (tmp_path / "again" / once.name).read_bytes() == once.read_bytes()


def test_it_depends_on_what_setup_py_lists_and_not_on_cloud_init(package: Path) -> None:
    names = {re.split(r"[ :]", part)[0] for part in _field(package, "Depends")}
    assert names == {
        *("python3", "python3-yaml", "python3-requests", "python3-sdnotify", "python3-systemd"),
        *("git", "systemd", "ca-certificates", "passwd"),
    }
    assert _field(package, "Architecture") == ["all"]


def test_it_holds_what_it_should(tree: dict[str, Entry]) -> None:
    units = {path for path in tree if path.startswith("/usr/lib/systemd/")}
    assert units == {
        "/usr/lib/systemd/system-preset/50-piot.preset",
        "/usr/lib/systemd/system/piot-.path.d/guard.conf",
        "/usr/lib/systemd/system/piot-.service.d/guard.conf",
        "/usr/lib/systemd/system/piot-.timer.d/guard.conf",
        "/usr/lib/systemd/system/piot-bootguard.service",
        "/usr/lib/systemd/system/piot-clock.service",
        "/usr/lib/systemd/system/piot-deploy@.path",
        "/usr/lib/systemd/system/piot-deploy@.service",
        "/usr/lib/systemd/system/piot-deploy@.timer",
        "/usr/lib/systemd/system/piot-fallback.service",
        "/usr/lib/systemd/system/piot-fallback.timer",
        "/usr/lib/systemd/system/piot-firstboot.service",
        "/usr/lib/systemd/system/piot-peers@.service",
        "/usr/lib/systemd/system/piot-peers@.timer",
        "/usr/lib/systemd/system/piot-setup.service",
        "/usr/lib/systemd/system/piot-usb@.service",
    }
    assert {path for path in tree if path.startswith("/etc/")} == {"/etc/cloud/clean.d/50-piot"}
    assert tree["/etc/cloud/clean.d/50-piot"].mode == 0o755
    assert tree["/usr/share/piot/cloud-init/part_handler.py"].mode == 0o644
    package = Path(deb.CHECKOUT, "piot_firstboot")
    wanted = {f"/{p.relative_to(package)}" for p in package.rglob("*.py")}
    prefix = "/usr/lib/python3/dist-packages/piot_firstboot"
    assert {p.removeprefix(prefix) for p in tree if p.startswith(prefix)} == wanted


def test_the_launcher_keeps_its_flags(tree: dict[str, Entry]) -> None:
    launcher = tree["/usr/bin/piot"]
    assert launcher.mode == 0o755
    assert isinstance(launcher.text, str)
    assert launcher.text.startswith("#!/usr/bin/python3 -IS\n")


def test_nothing_is_started_at_installation(tree: dict[str, Entry]) -> None:
    for name in ("postinst", "prerm", "postrm"):
        script = tree[f"/DEBIAN/{name}"].text
        assert isinstance(script, str)
        assert not re.search(r"\b(re)?start\b(?! of)", re.sub(r"#.*", "", script)), name
    assert "enable 'piot-firstboot.service'" in str(tree["/DEBIAN/postinst"].text)


def test_an_unchanged_checkout_is_not_built_again(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: object, **__: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(deb, "build", build)
    assert deb.deb() == package
