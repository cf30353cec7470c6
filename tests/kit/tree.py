"""File trees written down as dictionaries, for literal comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a tree: a file's text and mode, a symlink's target, or an empty directory."""

    text: str | bytes = ""
    mode: int | None = None
    link: str | None = None
    directory: bool = False


def make_tree(root: Path, entries: Mapping[str, str | bytes | Entry]) -> Path:
    """Write a tree below `root`; keys are paths with or without a leading slash."""
    for path, value in entries.items():
        entry = value if isinstance(value, Entry) else Entry(value)
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.link is not None:
            target.symlink_to(entry.link)
            continue
        if entry.directory:
            target.mkdir(exist_ok=True)
        elif isinstance(entry.text, bytes):
            target.write_bytes(entry.text)
        else:
            target.write_text(entry.text)
        if entry.mode is not None:
            target.chmod(entry.mode)
    return root


def read_tree(root: Path) -> dict[str, Entry]:
    """Return all of a tree, keyed by absolute path inside it; directories only where empty."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = f"/{path.relative_to(root)}"
        mode = path.lstat().st_mode & 0o7777
        if path.is_symlink():
            found[name] = Entry(link=str(path.readlink()))
        elif path.is_dir():
            if not any(path.iterdir()):
                found[name] = Entry(mode=mode, directory=True)
        else:
            data = path.read_bytes()
            try:
                found[name] = Entry(data.decode(), mode)
            except UnicodeDecodeError:
                found[name] = Entry(data, mode)
    return found


def texts(root: Path) -> dict[str, str | bytes]:
    """Return the files of a tree without modes; a symlink reads "-> target"."""
    return {
        path: f"-> {entry.link}" if entry.link is not None else entry.text
        for path, entry in read_tree(root).items()
        if not entry.directory
    }
