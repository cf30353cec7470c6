"""Submodules and Git LFS: fetched by the rules of the app's own repository, and no others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from piot_firstboot import git, gitmodules, submodules, vault
from piot_firstboot.errors import Lacking, Missing, Unfit, Unreachable
from tests.kit.git_repo import Repo
from tests.kit.gitserver import GitServer
from tests.kit.origin import MIRROR, Device

INNER = '[submodule "inner/deep"]\n\tpath = inner/deep\n\turl = ../deep.git\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    """Serve the repositories garden, lib and deep over http."""
    with GitServer(tmp_path / "server") as made:
        yield made


@pytest.fixture
def device(tmp_path: Path, server: GitServer) -> Device:
    """Make a device whose app, garden, has the submodule lib, which has the submodule deep."""
    made = Device(tmp_path)
    made.repo = server.repo("garden")
    lib, deep = server.repo("lib"), server.repo("deep")
    deep.commit({"deep.txt": "deep"}, "deep")
    lib.commit({"lib.txt": "lib"}, "lib", push=False)
    add(lib, "inner/deep", "../deep.git", deep.head())
    made.repo.commit({"a": "1"}, "first", push=False)
    add(made.repo, "libs/lib", "../lib.git", lib.head())
    made.ask(repo=made.repo.url, submodules=True)
    return made


def add(repo: Repo, path: str, url: str, commit: str, name: str = "") -> str:
    """Add a submodule and push, without git's own judgement of address and path."""
    text = f'[submodule "{name or path}"]\n\tpath = {path}\n\turl = {url}\n'
    (repo.work / ".gitmodules").write_text(text)
    repo.git("add", ".gitmodules")
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
    repo.git("commit", "-q", "-m", "a submodule")
    repo.push()
    return repo.head()


def test_submodules_within_submodules(device: Device) -> None:
    assert device.check_out() == {
        ".gitmodules": (device.repo.work / ".gitmodules").read_text(),
        "a": "1",
        "libs/lib/.gitmodules": INNER,
        "libs/lib/lib.txt": "lib",
        "libs/lib/inner/deep/deep.txt": "deep",
    }


def test_they_are_left_alone_unless_asked_for(device: Device, server: GitServer) -> None:
    device.ask(submodules=False)
    assert set(device.check_out()) == {".gitmodules", "a"}
    assert not [row for row in server.requests() if "/lib.git" in row["path"]]


def test_each_has_a_mirror_that_goes_when_it_is_not_used(device: Device) -> None:
    device.check_out()
    folder = device.root / "var/lib/piot/apps/garden/modules"
    assert len(list(folder.iterdir())) == 2
    device.repo.git("rm", "-q", "-r", "--cached", "libs/lib", ".gitmodules")
    device.repo.git("commit", "-q", "-m", "none")
    device.repo.push()
    device.check_out()
    assert list(folder.iterdir()) == []


def test_a_damaged_mirror_of_a_submodule_heals(device: Device) -> None:
    whole = device.check_out()
    for pack in device.root.rglob("modules/*/objects/pack/*.pack"):
        pack.chmod(0o644)
        pack.write_bytes(pack.read_bytes()[:-25])
    assert device.check_out() == whole


def test_a_commit_that_was_not_pushed(device: Device, server: GitServer) -> None:
    device.repo.git("update-index", "--cacheinfo", f"160000,{'1' * 40},libs/lib")
    device.repo.git("commit", "-q", "-m", "forgot to push")
    device.repo.push()
    with pytest.raises(Missing, match="lib.git does not give out 1111"):
        device.check_out()


def test_submodules_without_end(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submodules, "_DEEPEST", 1)
    with pytest.raises(Unfit, match="more than 1 deep"):
        device.check_out()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ext::sh -c touch% /tmp/piot-pwned", "the transport ext:: is not allowed"),
        ("file:///etc", "comes from file:///etc, and the app itself by http"),
        ("/etc/ssl", "comes from /etc/ssl, and the app itself by http"),
        ("../../../../../etc", "it leads above the server"),
        ("git://git.test/x.git", "comes from git://git.test/x.git, and the app itself by http"),
        ("https://user:secret@git.test/x.git", "holds a user name or password"),
        ("ftp://git.test/x.git", "git has no such kind of address"),
        ("", "does not say where the submodule libs/lib comes from"),
        # git itself refuses these when they come, before they are stored.
        ("-u./payload", "gitmodulesUrl: disallowed submodule url"),
        ("https://git.test/%0ahost=evil/x.git", "gitmodulesUrl: disallowed submodule url"),
    ],
)
def test_a_hostile_address(device: Device, server: GitServer, url: str, why: str) -> None:
    add(device.repo, "libs/lib", url, "1" * 40)
    before = len(server.requests())
    with pytest.raises(Unfit, match=why):
        device.check_out()
    assert not [row for row in server.requests()[before:] if "/garden.git" not in row["path"]]
    assert not Path("/tmp/piot-pwned").exists()


@pytest.mark.parametrize("name", ["../../hooks", "-x"])
def test_a_hostile_name_or_path(device: Device, name: str) -> None:
    add(device.repo, "-p" if name == "-x" else "libs/lib", "../lib.git", "1" * 40, name)
    with pytest.raises(Unfit, match="git refuses what is in the repository: gitmodules"):
        device.check_out()


@pytest.mark.parametrize(
    ("given", "parent", "url"),
    [
        ("../lib.git", "https://h/a/b.git", "https://h/a/lib.git"),
        ("../../lib.git", "https://h/a/b.git", "https://h/lib.git"),
        ("../lib.git", "https://h/a/b.git/", "https://h/a/lib.git"),
        ("./lib.git", "https://h/a/b.git", "https://h/a/b.git/lib.git"),
        ("../lib.git", "git@h:a/b.git", "git@h:a/lib.git"),
        ("../lib.git", "git@h:b.git", "git@h:lib.git"),
        ("../lib.git", "ssh://git@h:22/a/b.git", "ssh://git@h:22/a/lib.git"),
        ("../lib", "/srv/git/b", "/srv/git/lib"),
        ("https://o/x.git", "git@h:b.git", "https://o/x.git"),
    ],
)
def test_relative_addresses(given: str, parent: str, url: str) -> None:
    settings = f"submodule.a b.path\nx\0submodule.a b.url\n{given}\0core.bare\ntrue\0"
    found = gitmodules.modules(settings, [("x", "c")], parent)
    assert [(module.path, module.url) for module in found] == [("x", url)]


# -- LFS ----------------------------------------------------------------------------------------

LARGE = bytes(range(256)) * 40
OID = hashlib.sha256(LARGE).hexdigest()
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize {len(LARGE)}\n"
TRACKED = {".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n", "big.bin": POINTER}


def store(server: GitServer) -> None:
    """Put the large file where the server keeps such."""
    (server.folder / "lfs").mkdir(exist_ok=True)
    (server.folder / "lfs" / OID).write_bytes(LARGE)


def test_large_files_come_from_the_repository_s_own_server(
    device: Device, server: GitServer
) -> None:
    device.ask(lfs=True, submodules=False)
    store(server)
    # Whatever the repository itself says of another server.
    elsewhere = "[lfs]\n\turl = http://127.0.0.1:1/evil\n"
    device.repo.commit({**TRACKED, ".lfsconfig": elsewhere}, "large")
    device.check_out()
    assert (device.root / "release/big.bin").read_bytes() == LARGE
    device.ask(lfs=False)
    assert device.check_out()["big.bin"] == POINTER


def test_large_files_of_former_commits_do_not_pile_up(device: Device, server: GitServer) -> None:
    device.ask(lfs=True, submodules=False)
    store(server)
    device.repo.commit(TRACKED, "large")
    device.check_out()
    kept = device.root / MIRROR / "lfs/objects"
    assert [path.name for path in kept.rglob("*") if path.is_file()] == [OID]
    device.check_out()
    small = hashlib.sha256(b"x").hexdigest()
    (server.folder / "lfs" / small).write_bytes(b"x")
    device.repo.commit({"big.bin": POINTER.replace(OID, small).replace("10240", "1")}, "small")
    assert device.check_out()["big.bin"] == "x"
    assert [path.name for path in kept.rglob("*") if path.is_file()] == [small]


def test_a_large_file_that_was_not_pushed(device: Device) -> None:
    device.ask(lfs=True)
    device.repo.commit(TRACKED, "large")
    with pytest.raises(Unreachable, match="Git LFS: .*does not exist on the server"):
        device.check_out()


def test_without_git_lfs(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device.ask(lfs=True)
    device.repo.commit(TRACKED, "large")
    (tmp_path / "bin").mkdir()
    for name in ("git", "prlimit"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(Lacking, match="git-lfs is not on this device") as caught:
        device.check_out()
    assert "[update] packages = git-lfs" in caught.value.hint


# -- with a token -------------------------------------------------------------------------------

TOKEN = "tok-0123456789"


def test_a_token_opens_submodules_and_large_files_of_the_same_server_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = Device(tmp_path)
    with (
        GitServer(tmp_path / "own", tls=True) as own,
        GitServer(tmp_path / "other", tls=True) as other,
    ):
        bundle = tmp_path / "bundle.pem"
        bundle.write_text(own.ca.read_text() + other.ca.read_text())
        monkeypatch.setitem(git.ENVIRONMENT, "GIT_SSL_CAINFO", str(bundle))
        device.repo, lib, far = own.repo("garden"), own.repo("lib"), other.repo("far")
        lib.commit({"lib.txt": "lib"}, "lib")
        far.commit({"far.txt": "far"}, "far")
        store(own)
        device.repo.commit(TRACKED, "large", push=False)
        add(device.repo, "lib", "../lib.git", lib.head())
        vault.put(device.system, "app.token", TOKEN)
        device.ask(repo=device.repo.url, token="app.token", submodules=True, lfs=True)
        own.behave(token=TOKEN)
        found = device.check_out()
        assert found["lib/lib.txt"] == "lib"
        assert (device.root / "release/big.bin").read_bytes() == LARGE
        add(device.repo, "lib", far.url, far.head())
        assert device.check_out()["lib/far.txt"] == "far"
        other.behave(token=TOKEN)
        add(device.repo, "lib", f"{far.url.removesuffix('.git')}", far.head())
        with pytest.raises(Unreachable, match="could not read Username"):
            device.check_out()
        asked = other.requests()
        assert asked and not any(row["authorization"] for row in asked)
    kept = [path for path in device.root.rglob("*") if path.is_file()]
    assert [p.name for p in kept if TOKEN.encode() in p.read_bytes()] == ["app.token"]
