"""Hostile repositories and servers: refused or contained, with a reason, and nothing else touched.

Each test deploys for real, into a tree. What is outside the app's own directories must be the same
afterwards, byte for byte.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from piot_firstboot import deploy, git, idle, mirror, repository, state, symlinks, tls, vault
from piot_firstboot.errors import Unreachable
from piot_firstboot.transaction import Outcome
from tests.kit.gitserver import GitServer
from tests.kit.origin import Device, texts

MANIFEST = "piot: 1\nservices:\n  web: {run: ./web.sh}\n"
GOOD = {".piot.yaml": MANIFEST, "web.sh": "#!/bin/sh\nsleep 1000\n"}
OWN = ("var/lib/piot/apps/garden/", "var/lib/piot/boot/garden", "var/lib/piot/reserve", "run/piot/")


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """Make a device that runs a good commit of its app."""
    made = Device(tmp_path)
    made.ask()
    made.repo.commit(GOOD, "good")
    for path, text in (
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\npiot-other:x:901:901::/:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("etc/hostname", "pi\n"),
        ("etc/shadow", "root:*:1::::::\n"),
        ("etc/systemd/system/piot-other-web.service", "[Service]\nExecStart=/bin/true\n"),
        ("var/lib/piot/apps/other/app.json", "{}"),
    ):
        made.system.write(f"/{path}", text.encode())
    assert deploy.deploy(made.system, "garden").ok
    return made


def outside(device: Device) -> dict[str, str]:
    """Return all of the tree but the app's own directories."""
    return {path: text for path, text in texts(device.root).items() if not path.startswith(OWN)}


def refused(device: Device, reason: str, *, final: bool = True) -> Outcome:
    """Deploy; make sure that it was refused for this reason and that nothing changed."""
    before, good = outside(device), state.load(device.system, "garden").commit
    outcome = deploy.deploy(device.system, "garden")
    assert not outcome.ok
    assert reason in outcome.text, outcome.text
    record = state.load(device.system, "garden")
    assert record.commit == good and record.bad[0].deterministic == final
    assert outside(device) == before
    releases = device.root / "var/lib/piot/apps/garden/releases"
    assert [path.name for path in releases.iterdir()] == [good]
    assert not Path("/tmp/piot-pwned").exists()
    return outcome


def forge(device: Device, rows: dict[str, str], mode: str = "100644") -> None:
    """Push a commit whose tree has names that `git add` would not take."""

    def run(*words: str, text: str = "") -> str:
        done = subprocess.run(
            ["git", *words], cwd=device.repo.work, input=text.encode(), check=True,
            capture_output=True,
        )  # fmt: skip
        return done.stdout.decode().strip()

    tree = run("ls-tree", "-z", "HEAD")
    for name, content in rows.items():
        blob = run("hash-object", "-w", "--stdin", text=content)
        kind = "tree" if mode == "040000" else "blob"
        if kind == "tree":
            blob = run("mktree", "-z", text=f"100644 blob {blob}\tconfig\0")
        tree += f"{mode} {kind} {blob}\t{name}\0"
    commit = run("commit-tree", run("mktree", "-z", text=tree), "-p", "HEAD", "-m", "forged")
    device.repo.git("push", "-q", "origin", f"{commit}:refs/heads/main")


# -- what is in the repository ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("links", "reason"),
    [
        ({"evil": "/etc/shadow"}, "evil is a link to /etc/shadow, out of the repository"),
        ({"a/up": "../../x"}, "a/up is a link to ../../x, out of the repository"),
        ({"web": "../../other/app.json"}, "out of the repository"),
        ({"one": "a/b", "a/b": "..", "two": "one/../.."}, "out of the repository"),
        ({".venv": "/etc/systemd/system"}, ".venv is a link to /etc/systemd/system"),
        ({"null": "/dev/null", "n": "null/../../etc"}, "out of the repository"),
    ],
)
def test_links_out_of_the_tree(device: Device, links: dict[str, str], reason: str) -> None:
    for path, target in links.items():
        link = device.repo.work / path
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target)
    device.repo.commit({}, "links")
    refused(device, reason)


def test_a_manifest_that_is_a_link(device: Device) -> None:
    (device.repo.work / ".piot.yaml").unlink()
    (device.repo.work / "real.yaml").write_text(MANIFEST)
    (device.repo.work / ".piot.yaml").symlink_to("real.yaml")
    device.repo.commit({}, "link")
    refused(device, "has no .piot.yaml")


def test_links_within_the_tree_are_kept(device: Device) -> None:
    (device.repo.work / "sub").mkdir()
    for path, target in (("sub/up", "../web.sh"), ("gone", "nothing"), ("null", "/dev/null")):
        (device.repo.work / path).symlink_to(target)
    device.repo.commit({}, "links")
    assert deploy.deploy(device.system, "garden").ok


@pytest.mark.parametrize(
    ("links", "path", "out"),
    [
        ({"a": "b"}, "a", False),
        ({"a": ".."}, "a", True),
        ({"d/a": ".."}, "d/a", False),
        ({"d/a": "../.."}, "d/a", True),
        ({"a": "a"}, "a", False),
        ({"a": "b", "b": "a/x"}, "a", False),
        ({"d/l": "..", "d/a": "l/.."}, "d/a", True),
        ({"l": "d/e", "a": "l/../.."}, "a", False),
        ({"l": "/etc", "a": "l/passwd"}, "a", True),
        ({"l": "/dev/null", "a": "l"}, "a", False),
        ({"a": "./b/./c//d/../e"}, "a", False),
    ],
)
def test_where_a_link_leads(links: dict[str, str], path: str, out: bool) -> None:
    assert symlinks.escapes(links, path) == out


@pytest.mark.parametrize("name", ["a\nunit evil.service", "tab\there", "esc\x1b[2J", "del\x7f"])
def test_names_with_invisible_characters(device: Device, name: str) -> None:
    forge(device, {name: "x"})
    refused(device, "has an invisible character in it")


@pytest.mark.parametrize("name", [".git", ".GIT", "git~1", ".g\u200cit", ".git ", "..", "."])
def test_names_like_git_s_own(device: Device, name: str) -> None:
    forge(device, {name: "[core]\n\tfsmonitor = touch /tmp/piot-pwned\n"}, "040000")
    refused(device, "git refuses what is in the repository: has")


def test_names_that_differ_by_case_are_two_files(device: Device) -> None:
    device.repo.commit({"Data": "1", "data": "2", "DATA": "3"}, "case")
    before = outside(device)
    assert deploy.deploy(device.system, "garden").ok
    head = device.repo.head()
    folder = device.root / "var/lib/piot/apps/garden/releases" / head
    assert [(folder / name).read_text() for name in ("Data", "data", "DATA")] == ["1", "2", "3"]
    assert set(outside(device)) == set(before)


def test_attributes_and_settings_run_nothing(device: Device) -> None:
    evil = "touch /tmp/piot-pwned"
    files = {
        ".gitattributes": "* filter=evil diff=evil merge=evil export-subst ident\n",
        ".gitconfig": f'[filter "evil"]\n\tsmudge = {evil}\n[core]\n\thooksPath = hooks\n',
        "hooks/post-checkout": f"#!/bin/sh\n{evil}\n",
        ".git-hooks/post-checkout": f"#!/bin/sh\n{evil}\n",
        "subst": "$Format:%H$\n",
        ".lfsconfig": "[lfs]\n\turl = file:///etc\n",
    }
    device.repo.commit(files, "attributes")
    assert deploy.deploy(device.system, "garden").ok
    release = texts(device.root / "var/lib/piot/apps/garden/releases" / device.repo.head())
    assert release == {**GOOD, **files}
    assert not Path("/tmp/piot-pwned").exists()


@pytest.mark.parametrize(
    "manifest",
    [
        MANIFEST.replace("web:", "deploy@garden:"),
        MANIFEST.replace("web:", "../other-web:"),
        MANIFEST.replace("web:", '"other-web.service":'),
        MANIFEST.replace("{run: ./web.sh}", '{run: ./web.sh, systemd: {Alias: "ssh.service"}}'),
        MANIFEST.replace("{run: ./web.sh}", '{run: ./web.sh, dir: "../../../other"}'),
        MANIFEST.replace("./web.sh", "../../../../bin/true"),
    ],
)
def test_a_manifest_that_reaches_for_others(device: Device, manifest: str) -> None:
    device.repo.commit({".piot.yaml": manifest}, "reach")
    refused(device, ".piot.yaml:3:")


@pytest.mark.parametrize("name", ["firstboot", "device", "other", "garden-web"])
def test_units_are_always_the_app_s_own(device: Device, name: str) -> None:
    """Whatever the manifest calls itself and its parts, units begin with the app's name."""
    text = f"piot: 1\nname: other\nservices:\n  {name}: {{run: ./web.sh}}\n"
    device.repo.commit({".piot.yaml": text}, "names")
    before = outside(device)
    deploy.deploy(device.system, "garden")
    after = outside(device)
    changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    ours = ("piot-garden", "var/lib/piot/owned/app.garden")
    assert [path for path in changed if not any(part in path for part in ours)] == []


def test_a_pack_that_does_not_fit_is_cut_off(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_room", lambda path: 300_000)
    device.repo.commit({"big": random.Random(1).randbytes(2_000_000)}, "big")
    refused(device, "what comes is larger than the 0 MiB that are free on the device", final=False)


def test_a_forced_push_is_refused_where_that_is_asked(device: Device) -> None:
    device.ask(fast_forward_only=True)
    device.repo.git("checkout", "-q", "--orphan", "other")
    device.repo.git("commit", "-q", "-m", "rewritten")
    device.repo.git("push", "-q", "--force", "origin", "HEAD:main")
    refused(device, "does not follow")


# -- what the server does -----------------------------------------------------------------------


@pytest.fixture
def served(tmp_path: Path, device: Device) -> Iterator[tuple[Device, GitServer]]:
    """Serve the app's repository over http."""
    with GitServer(tmp_path / "server") as server:
        repo = server.repo("garden")
        device.repo.git("push", "-q", str(repo.bare), "main")
        device.repo.git("remote", "set-url", "origin", str(repo.bare))
        device.ask(repo=repo.url)
        yield device, server


def unreachable(device: Device, reason: str, hint: str = "") -> None:
    """Ask; make sure that it failed for this reason, that the app runs on, and nothing changed."""
    before, record = outside(device), state.load(device.system, "garden")
    with pytest.raises(Unreachable) as caught:
        deploy.deploy(device.system, "garden")
    assert reason in str(caught.value), str(caught.value)
    assert hint in caught.value.hint
    assert state.load(device.system, "garden") == record
    assert outside(device) == before


Served = tuple[Device, GitServer]


def test_a_server_that_hangs(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    device, server = served
    monkeypatch.setattr(repository, "_ASK_TIMEOUT", 1.0)
    monkeypatch.setattr(idle, "_PATIENCE", 1)
    tip = repository.resolve(device.system, device.origin)
    device.system.write("/run/piot/poll/garden", idle.poll_stamp(*_stamp(device, tip)))
    server.behave(hang=True)
    assert not idle.unmoved(str(device.root), "garden")
    unreachable(device, "no end after 1 s, stopped")


def _stamp(device: Device, tip: repository.Tip) -> tuple[str, str, str]:
    return device.origin.repo, tip.ref, tip.commit


def test_a_server_that_serves_a_page(served: Served) -> None:
    device, server = served
    server.behave(html=True)
    unreachable(device, "not valid: ", "what answers there is no git server")


@pytest.mark.parametrize("to", ["file:///etc", "ftp://git.test", "ext::sh"])
def test_a_server_that_sends_elsewhere(served: Served, to: str) -> None:
    device, server = served
    server.behave(redirect=to)
    unreachable(device, device.origin.repo, "the server sends on to another place")


@pytest.mark.parametrize("cut", [1, 100, 3000])
def test_a_server_that_dies_in_the_middle(served: Served, cut: int) -> None:
    """The refs come whole, the pack does not; the next try gets it."""
    device, server = served
    device.repo.commit({"big": "".join(map(str, range(20_000)))}, "big")
    tip = repository.resolve(device.system, device.origin)
    server.behave(cut=cut)
    with pytest.raises(Unreachable):
        device.fetch(tip)
    server.behave()
    device.system.remove_tree("/release")
    assert "big" in device.check_out()


@pytest.mark.parametrize("cut", [1, 40])
def test_a_server_that_dies_while_it_lists_its_refs(served: Served, cut: int) -> None:
    device, server = served
    server.behave(cut=cut)
    unreachable(device, device.origin.repo)


def test_a_server_at_a_kilobyte_a_second(served: Served) -> None:
    device, server = served
    device.repo.commit({"note": "slow"}, "slow")
    server.behave(rate=1000)
    assert deploy.deploy(device.system, "garden").ok
    assert state.load(device.system, "garden").commit == device.repo.head()


# -- TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def secure(
    tmp_path: Path, device: Device, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Device, GitServer]]:
    """Serve the app's repository over https, by an authority that the device trusts."""
    with GitServer(tmp_path / "secure", tls=True) as server:
        repo = server.repo("garden")
        device.repo.git("push", "-q", str(repo.bare), "main")
        device.ask(repo=repo.url)
        trust(monkeypatch, tmp_path, server.ca.read_text())
        yield device, server


def trust(monkeypatch: pytest.MonkeyPatch, folder: Path, pem: str) -> None:
    """Make these the authorities that git and Python know."""
    store = folder / "trusted"
    store.mkdir(exist_ok=True)
    bundle = folder / "bundle.pem"
    with bundle.open("a") as file:
        file.write(pem)
    for number, part in enumerate(bundle.read_text().split("-----BEGIN")[1:]):
        (store / f"{number}.pem").write_text(f"-----BEGIN{part}")
    subprocess.run(["openssl", "rehash", str(store)], check=True, capture_output=True)
    monkeypatch.setitem(git.ENVIRONMENT, "GIT_SSL_CAINFO", str(bundle))
    monkeypatch.setattr(tls, "_STORE", str(store))


CERTIFICATES: list[tuple[str, Callable[[GitServer], None], str]] = [
    (
        "not yet valid",
        lambda server: server.certificate(start="20490101000000Z", end="20491231000000Z"),
        "certificate is not yet valid",
    ),
    (
        "expired",
        lambda server: server.certificate(start="20200101000000Z", end="20200201000000Z"),
        "certificate has expired",
    ),
    ("wrong name", lambda server: server.certificate(name="other.test"), "mismatch"),
    ("self-signed", lambda server: server.certificate(own=True), "self-signed certificate"),
]


@pytest.mark.parametrize(
    ("change", "reason"), [row[1:] for row in CERTIFICATES], ids=[row[0] for row in CERTIFICATES]
)
def test_a_certificate_that_is_not_right(
    secure: Served, change: Callable[[GitServer], None], reason: str
) -> None:
    device, server = secure
    change(server)
    unreachable(device, reason)


def test_a_token_does_not_follow_to_another_server(
    secure: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, server = secure
    vault.put(device.system, "app.token", "tok-abcdef")
    device.ask(token="app.token")
    server.behave(token="tok-abcdef")
    assert device.fetch().commit == device.repo.head()
    with GitServer(tmp_path / "evil", tls=True) as evil:
        trust(monkeypatch, tmp_path, evil.ca.read_text())
        evil.behave(token="tok-abcdef")
        server.behave(redirect=evil.url("x").removesuffix("/x.git"))
        unreachable(device, "could not read Username", "for the server that `repo` names")
        asked = evil.requests()
        assert asked and not any(row["authorization"] for row in asked)
    assert "tok-abcdef" not in "".join(texts(device.root / "var/lib/piot/apps").values())
