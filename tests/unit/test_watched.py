"""Globs over the files of a commit, and what counts as a change."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piot_firstboot.watched import Blob, digest, listing, matches


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("web/**", "web/a.py", True),
        ("web/**", "web/static/a.css", True),
        ("web/**", "website/a.py", False),
        ("web", "web/static/a.css", True),
        ("web/", "web/a.py", True),
        ("./web", "web/a.py", True),
        ("web", "web", True),
        ("web", "webs", False),
        ("*.py", "a.py", True),
        ("*.py", "web/a.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "web/deep/a.py", True),
        ("web/*/x", "web/a/x", True),
        ("web/*/x", "web/a/b/x", False),
        ("**", "anything/at all", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("a[bx]c", "axc", True),
        ("a[!bx]c", "axc", False),
        ("a[!bx]c", "a/c", False),
        ("a[^b]c", "abc", False),
        ("a[]]c", "a]c", True),
        ("a[b-d]c", "acc", True),
        ("a[bc", "a[bc", True),
        ("a[z-a]c", "abc", False),
        ("a.py", "axpy", False),
        ("a+(b)", "a+(b)", True),
        ("a\\b", "a\\b", True),
        ("new\nline", "new\nline", True),
        ("**", "new\nline", True),
    ],
)
def test_globs(pattern: str, path: str, expected: bool) -> None:
    assert matches(pattern, path) is expected


@given(st.text(), st.text())
def test_any_glob_can_be_asked(pattern: str, path: str) -> None:
    matches(pattern, path)


@given(st.text(alphabet="ab./-_é", min_size=1))
def test_a_plain_path_matches_itself(path: str) -> None:
    assert matches(path, path.removeprefix("./").strip("/"))


TREE = (
    Blob("web/a.py", "100644", "1"),
    Blob("run.sh", "100755", "2"),
    Blob("lib", "160000", "3"),
)


def test_only_what_is_watched_counts() -> None:
    changed = (Blob("web/a.py", "100644", "9"), *TREE[1:])
    assert digest(TREE, ["web/**"]) != digest(changed, ["web/**"])
    assert digest(TREE, ["run.sh"]) == digest(changed, ["run.sh"])
    assert digest(TREE, []) != digest(changed, [])


def test_a_mode_a_new_file_and_a_missing_one_are_changes() -> None:
    assert digest(TREE, []) != digest((TREE[0], Blob("run.sh", "100644", "2"), TREE[2]), [])
    assert digest(TREE, ["web"]) != digest((*TREE, Blob("web/b", "100644", "1")), ["web"])
    assert digest(TREE, ["web"]) != digest(TREE[1:], ["web"])


def test_the_order_of_the_files_does_not_matter() -> None:
    assert digest(TREE, []) == digest(TREE[::-1], [])


@pytest.mark.parametrize("glob", ["lib", "lib/**", "lib/deep/*.c", "**/*.c", "l*"])
def test_what_lies_in_a_submodule_counts(glob: str) -> None:
    assert digest(TREE, [glob]) != digest((*TREE[:2], Blob("lib", "160000", "4")), [glob])


def test_other_globs_leave_a_submodule_alone() -> None:
    moved = (*TREE[:2], Blob("lib", "160000", "4"))
    assert digest(TREE, ["web/**", "libs"]) == digest(moved, ["web/**", "libs"])


def test_git_lists_any_name() -> None:
    text = "100644 blob 12ab\ta b\n\tc\0" + "160000 commit 34cd\tlib\0"
    assert listing(text) == (Blob("a b\n\tc", "100644", "12ab"), Blob("lib", "160000", "34cd"))
    assert listing("") == ()
