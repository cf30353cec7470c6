"""A git repository on the server's disk, with a work tree to commit from."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Nothing of the developer's own git settings, and no signing, may reach a test.
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Test",
    "GIT_AUTHOR_EMAIL": "test@example.org",
    "GIT_COMMITTER_NAME": "Test",
    "GIT_COMMITTER_EMAIL": "test@example.org",
}


class Repo:
    """A bare repository `<folder>/<name>.git` and the work tree it is filled from."""

    def __init__(
        self, folder: Path, name: str, url: str = "", branch: str = "main", names: str = "sha1"
    ) -> None:
        self.name = name
        self.bare = folder / f"{name}.git"
        self.work = folder / f".work-{name}"
        self.url = url or f"file://{self.bare}"
        self.branch = branch
        self.bare.mkdir(parents=True)
        how = (f"--initial-branch={branch}", f"--object-format={names}")
        _git(self.bare, "init", "-q", "--bare", *how)
        _git(self.bare, "config", "uploadpack.allowAnySHA1InWant", "true")
        _git(self.bare, "config", "uploadpack.allowFilter", "true")
        self.work.mkdir()
        _git(self.work, "init", "-q", *how)
        _git(self.work, "remote", "add", "origin", str(self.bare))

    def commit(
        self,
        files: Mapping[str, str | bytes | None],
        message: str = "A commit",
        *,
        branch: str | None = None,
        push: bool = True,
    ) -> str:
        """Write `files` (None deletes), commit, push; return the hash. `#!` makes executable."""
        if branch:
            self.git("checkout", "-q", "-B", branch)
        for path, content in files.items():
            target = self.work / path
            if content is None:
                target.unlink()
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            data = content if isinstance(content, bytes) else content.encode()
            target.write_bytes(data)
            target.chmod(0o755 if data.startswith(b"#!") else 0o644)
        self.git("add", "--all")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        if push:
            self.push()
        return self.head()

    def submodule(self, path: str, url: str, commit: str) -> None:
        """Add a submodule to what is committed next, without git's own judgement of it."""
        with (self.work / ".gitmodules").open("a") as file:
            file.write(f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n')
        self.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{path}")
        (self.work / path).mkdir(parents=True, exist_ok=True)  # else `git add` takes it out again

    def push(self, *options: str) -> None:
        """Push the current branch."""
        self.git("push", "-q", *options, "origin", "HEAD")

    def tag(self, name: str, commit: str = "HEAD") -> None:
        """Make a light tag and push it."""
        self.git("tag", name, commit)
        self.git("push", "-q", "origin", f"refs/tags/{name}")

    def untag(self, name: str) -> None:
        """Delete a tag here and on the remote."""
        self.git("tag", "--delete", name)
        self.git("push", "--quiet", "origin", f":refs/tags/{name}")

    def rewind(self, commit: str) -> None:
        """Force the current branch back to `commit`, as a force push would."""
        self.git("reset", "-q", "--hard", commit)
        self.push("--force")

    def head(self) -> str:
        """Return the hash of the work tree's commit."""
        return self.git("rev-parse", "HEAD")

    def git(self, *argv: str) -> str:
        """Run git in the work tree; return what it printed."""
        return _git(self.work, *argv)


def _git(folder: Path, *argv: str) -> str:
    done = subprocess.run(
        ["git", *argv],
        cwd=folder,
        env={**os.environ, **ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"git {' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout.strip()
