"""Repositories against a temporary root: real git, servers on loopback, damage and malice."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piot_firstboot import idle, mirror, orders, repository
from piot_firstboot.errors import Lacking, Missing, Unfit, Unreachable
from piot_firstboot.repository import Tip
from piot_firstboot.verify import verify
from tests.kit.damage import DAMAGE, pack
from tests.kit.gitserver import GitServer
from tests.kit.origin import MIRROR, Device
from tests.kit.sshserver import make_key


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device whose app's repository has one commit."""
    made = Device(tmp_path)
    made.ask()
    made.repo.commit({"a": "1"}, "first")
    return made


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Device, GitServer]]:
    """Make a device whose app's repository is on an http server."""
    with GitServer(tmp_path / "server") as server:
        made = Device(tmp_path)
        made.repo = server.repo("garden")
        made.ask(repo=made.repo.url)
        made.repo.commit({"a": "1"}, "first")
        yield made, server


# -- refs ---------------------------------------------------------------------------------------


def test_head_branch_tag_and_commit(device: Device) -> None:
    first = device.repo.head()
    device.repo.git("tag", "-m", "one", "v1")
    device.repo.git("push", "-q", "origin", "v1")
    second = device.repo.commit({"a": "2"}, "second", branch="next")
    for ref, full, commit in (
        ("", "refs/heads/main", first),
        ("main", "refs/heads/main", first),
        ("next", "refs/heads/next", second),
        ("v1", "refs/tags/v1", first),
        ("refs/tags/v1", "refs/tags/v1", first),
        (second, "", second),
    ):
        device.ask(ref=ref)
        assert device.verify() == Tip(full, commit)


@pytest.mark.parametrize("ref", ["gone", "abc1234"])
def test_a_ref_that_is_not_there(device: Device, ref: str) -> None:
    device.ask(ref=ref)
    with pytest.raises(Missing, match="no branch or tag") as caught:
        device.fetch()
    assert ("40 digits" in caught.value.hint) == (ref != "gone")


def test_a_commit_that_the_server_gives_out_by_its_branch_only(
    served: tuple[Device, GitServer],
) -> None:
    device, _ = served
    commits = [device.repo.head()]
    commits += [device.repo.commit({"a": str(n)}, str(n)) for n in range(5)]
    for setting in ("uploadpack.allowAnySHA1InWant=false", "protocol.version=0"):
        argv = ["git", "config", *setting.split("=")]
        subprocess.run(argv, cwd=device.repo.bare, check=True)
    device.ask(ref=commits[1])
    assert device.verify().commit == commits[1]
    assert device.git("for-each-ref", "--format=%(refname)") == "refs/piot/tip"
    device.ask(ref="1" * 40)
    with pytest.raises(Missing, match="no branch has it"):
        device.fetch()


def test_tags_of_the_fleet_come_with_the_same_question(served: tuple[Device, GitServer]) -> None:
    device, server = served
    commit = device.repo.head()
    for name in ("v1", "piot/hold", f"piot/block/{commit}"):
        device.repo.tag(name)
    device.repo.git("tag", "-m", "now", f"piot/go/{commit}")
    device.repo.git("push", "-q", "origin", f"piot/go/{commit}")
    for ref in ("", "main"):
        device.ask(ref=ref)
        before = len(server.requests())
        tip = repository.resolve(device.system, device.origin)
        assert tip.orders == f"block/{commit} go/{commit} hold"
        assert len(server.requests()) - before == 2  # git's protocol needs two for one question
    assert orders.by_tags(tip.orders, commit).word == "blocked"
    assert orders.by_tags(tip.orders, "1" * 40).word == "held"


def test_the_idle_poll_notices_a_new_tag_of_the_fleet(device: Device) -> None:
    tip = device.fetch()
    stamp = idle.poll_stamp(device.origin.repo, tip.ref, tip.commit, orders=tip.orders)
    device.system.write("/run/piot/poll/garden", stamp)
    assert idle.unmoved(str(device.root), "garden")
    device.repo.tag("v1")
    assert idle.unmoved(str(device.root), "garden")
    device.repo.tag("piot/hold")
    assert not idle.unmoved(str(device.root), "garden")


def test_a_repository_that_names_objects_by_sha256(tmp_path: Path) -> None:
    """Also where one of the other kind was at the same address before."""
    with GitServer(tmp_path / "server") as server:
        device = Device(tmp_path)
        lib = server.repo("lib", names="sha256")
        lib.commit({"lib.txt": "lib"})
        old = server.repo("garden")
        old.commit({"a": "1"})
        device.ask(repo=old.url)
        assert device.check_out() == {"a": "1"}
        for path in (old.bare, old.work):
            path.rename(path.with_name(f"{path.name}.old"))
        device.repo = server.repo("garden", names="sha256")
        text = '[submodule "lib"]\n\tpath = lib\n\turl = ../lib.git\n'
        device.repo.commit({"a": "2", ".gitmodules": text}, push=False)
        device.repo.git("update-index", "--add", "--cacheinfo", f"160000,{lib.head()},lib")
        device.repo.git("commit", "-q", "--amend", "-m", "with a submodule")
        device.repo.push()
        device.ask(repo=device.repo.url, submodules=True)
        wanted = {"a": "2", ".gitmodules": text, "lib/lib.txt": "lib"}
        assert device.check_out() == wanted
        device.git("fsck", "--full")
        tip = device.verify()
        assert len(tip.commit) == 64
        stamp = idle.poll_stamp(device.repo.url, tip.ref, tip.commit)
        device.system.write("/run/piot/poll/garden", stamp)
        asked = len(server.requests())
        assert idle.unmoved(str(device.root), "garden")
        assert len(server.requests()) - asked == 2, "one question, of a few refs"
        device.repo.commit({"a": "3"})
        assert not idle.unmoved(str(device.root), "garden")
        device.ask(fast_forward_only=True, submodules=False)
        assert device.verify(tip.commit).commit == device.repo.head()
        device.ask(ref=device.repo.head())
        assert device.check_out()["a"] == "3"


def test_a_server_of_plain_files_is_refused(served: tuple[Device, GitServer]) -> None:
    device, server = served
    server.behave(dumb=True)
    with pytest.raises(Unreachable, match="dumb http transport does not support") as caught:
        device.fetch()
    assert "git http-backend" in caught.value.hint and "a bundle" in caught.value.hint


# -- bundles ------------------------------------------------------------------------------------


def test_a_bundle_with_one_branch_needs_no_ref(device: Device) -> None:
    device.repo.git("bundle", "create", "-q", str(device.root / "x.bundle"), "main")
    device.ask(repo=str(device.root / "x.bundle"))
    assert device.check_out() == {"a": "1"}


def test_a_bundle_with_the_newest_commits_only(device: Device) -> None:
    first = device.repo.head()
    second = device.repo.commit({"a": "2"}, "second")
    bundle = device.root / "x.bundle"
    device.repo.git("bundle", "create", "-q", str(bundle), f"{first}..main")
    device.ask(repo=str(bundle))
    with pytest.raises(Unreachable, match="lacks these prerequisite commits") as caught:
        device.fetch()
    assert "git bundle create NAME.bundle BRANCH" in caught.value.hint
    device.ask(repo=device.repo.url, ref=first)
    device.fetch()
    device.ask(repo=str(bundle), ref="", fast_forward_only=True)
    assert device.verify(first).commit == second


def test_a_bundle_that_is_not_there_or_none(device: Device) -> None:
    device.ask(repo=str(device.root / "x.bundle"))
    with pytest.raises(Unreachable, match=r"x.bundle: there is nothing") as caught:
        device.fetch()
    assert "plugged in" in caught.value.hint
    (device.root / "x.bundle").write_bytes(os.urandom(5000))
    with pytest.raises(Unreachable):
        device.fetch()


# -- signatures and descent ---------------------------------------------------------------------


@pytest.fixture
def signing(device: Device, tmp_path: Path) -> Callable[[str], str]:
    """Return what signs a new commit with a key of a name; "" signs nothing."""

    def sign(name: str) -> str:
        device.repo.work.joinpath("a").write_text(f"{name} {os.urandom(4).hex()}")
        device.repo.git("add", "--all")
        how = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={tmp_path / name}.pub")
        device.repo.git(*(how if name else ()), "commit", "-q", *("-S",) * bool(name), "-m", "x")
        device.repo.push()
        return device.repo.head()

    return sign


def test_only_what_a_signer_signed(
    device: Device, signing: Callable[[str], str], tmp_path: Path
) -> None:
    anna, ben = make_key(tmp_path / "anna", "anna"), make_key(tmp_path / "ben", "ben")
    device.ask(signers=(f'no-pty,from="10.*" {anna}', ben))
    for name in ("anna", "ben"):
        signed = signing(name)
        assert device.verify().commit == signed
    make_key(tmp_path / "eve", "eve")
    signing("eve")
    with pytest.raises(Unfit, match=r"is signed with the key ED25519 SHA256:\S+, which is not a"):
        device.verify()
    signing("")
    with pytest.raises(Unfit, match="is not signed") as caught:
        device.verify()
    assert "git commit -S" in caught.value.hint


def test_without_the_program_that_checks_signatures(
    device: Device,
    signing: Callable[[str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No fault of the commit."""
    device.ask(signers=(make_key(tmp_path / "anna", "anna"),))
    signing("anna")
    tip = device.fetch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to("/usr/bin/git")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(Lacking, match="ssh-keygen"):
        verify(device.system, device.origin, tip, "", device.said.append)


def test_a_signed_commit_that_was_changed(
    device: Device, signing: Callable[[str], str], tmp_path: Path
) -> None:
    device.ask(signers=(make_key(tmp_path / "anna", "anna"),))
    signing("anna")
    raw = device.repo.git("cat-file", "commit", "HEAD")
    forged = raw.replace("\n\nx", "\n\ny") + "\n"
    done = subprocess.run(
        ["git", "hash-object", "-w", "-t", "commit", "--stdin"],
        input=forged, cwd=device.repo.work, check=True, capture_output=True, text=True,
    )  # fmt: skip
    device.repo.git("reset", "-q", "--hard", done.stdout.strip())
    device.repo.push("--force")
    with pytest.raises(Unfit, match="has a signature that is not right"):
        device.verify()


def test_fast_forward_only(served: tuple[Device, GitServer]) -> None:
    device, _ = served
    first = device.repo.head()
    device.ask(fast_forward_only=True)
    for number in range(40):
        device.repo.commit({"a": str(number)}, str(number), push=False)
    device.repo.push()
    running = device.repo.head()
    assert device.verify(first).commit == running
    assert [line for line in device.said if line.startswith("looking")] == [
        f"looking for {first[:12]} among the last {depth} commits" for depth in (32, 256)
    ]
    assert not (device.root / "var/lib/piot/apps/garden/history.git").exists()
    assert device.git("rev-list", "--count", running) == "1", "the mirror stays shallow"
    device.repo.rewind(first)
    device.repo.commit({"b": "other"}, "rewritten", push=False)
    device.repo.push("--force")
    with pytest.raises(Unfit, match="does not follow"):
        device.verify(running)
    device.ask(fast_forward_only=False)
    assert device.verify(running).commit == device.repo.head()


# -- repair -------------------------------------------------------------------------------------


@pytest.mark.parametrize("news", [True, False], ids=["news", "no news"])
@pytest.mark.parametrize("what", DAMAGE)
def test_every_damage_heals_by_itself(device: Device, what: str, news: bool) -> None:
    """With a new commit, and when the same one is needed again."""
    device.repo.commit({"big": "x" * 5000, "b": "2"}, "second")
    device.fetch()
    if news:
        device.repo.commit({"c": "3"}, "third")
    DAMAGE[what](device.root / MIRROR)
    wanted = {"a": "1", "big": "x" * 5000, "b": "2", **({"c": "3"} if news else {})}
    assert device.check_out() == wanted
    device.git("fsck", "--full")
    left = [p.name for p in (device.root / MIRROR).rglob("*")]
    assert not [name for name in left if name.endswith(".lock") or name.startswith("tmp_")]
    assert not (device.root / f"{MIRROR}.new").exists()


@pytest.mark.parametrize("part", range(12))
def test_a_flipped_bit_anywhere_in_a_pack_heals(device: Device, part: int) -> None:
    device.repo.commit({f"dir{n}/file": str(n) * 30 for n in range(5)}, "second")
    wanted = device.check_out()
    path = pack(device.root / MIRROR)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[(len(data) - 1) * part // 11] ^= 0x10
    path.write_bytes(bytes(data))
    assert device.check_out() == wanted
    # A number in its head that nothing reads may stay wrong.
    if part:
        device.git("fsck", "--full")


def test_a_mirror_keeps_few_packs(device: Device) -> None:
    most = 0
    for number in range(25):
        device.repo.commit({"a": str(number)}, str(number))
        device.fetch()
        most = max(most, len(list((device.root / MIRROR).glob("objects/pack/*.pack"))))
    assert most == mirror._MOST_PACKS + 1


def test_a_commit_that_went_away_meanwhile(device: Device) -> None:
    tip = repository.resolve(device.system, device.origin)
    device.repo.commit({"a": "2"}, "second")
    device.fetch(tip)
    with pytest.raises(Unreachable, match="went away while it was fetched"):
        verify(device.system, device.origin, tip, "", device.said.append)


def test_a_repository_on_the_device_may_belong_to_a_person(device: Device) -> None:
    subprocess.run(["chown", "-R", "12345", str(device.repo.bare)], check=True)
    tip = device.fetch()
    stamp = idle.poll_stamp(device.origin.repo, tip.ref, tip.commit)
    device.system.write("/run/piot/poll/garden", stamp)
    assert idle.unmoved(str(device.root), "garden")
