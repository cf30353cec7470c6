"""Python environments: when one is made, what it is made of, and when it goes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from piot_firstboot import confined, environment
from piot_firstboot.confined import Task
from piot_firstboot.declared import Needs, Python
from piot_firstboot.errors import Unfit
from piot_firstboot.system import System
from tests.kit.tree import make_tree

COMMIT = "1" * 40
FINAL = f"/var/lib/piot/apps/mix/releases/{COMMIT}"
PARTIAL = f"{FINAL}.partial"
TASK = Task(
    app="mix", commit=COMMIT, title="build", words=(), directory=FINAL,
    writable=((PARTIAL, FINAL),),
)  # fmt: skip


class Bench:
    """A release under construction and the commands that were run in it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.system = System(str(root))
        self.tasks: list[Task] = []
        self.local = "same"
        make_tree(
            root, {PARTIAL + "/x": "", "/usr/share/python-wheels/pip-25-py3-none-any.whl": ""}
        )

        def run(system: System, task: Task) -> None:
            self.tasks.append(task)

        monkeypatch.setattr(confined, "run", run)

    def provide(self, python: Python, task: Task = TASK, **files: str) -> str:
        """Provide an environment and return its key."""
        self.tasks = []
        self.system.remove(f"{PARTIAL}/.venv")
        make_tree(self.root, {f"{PARTIAL}/{n.replace('_', '.')}": t for n, t in files.items()})

        def state(places: Iterable[str]) -> str:
            return self.local if tuple(places) else ""

        needs = Needs(apt=(), python=python)
        key = environment.provide(self.system, task, needs, state, lambda text: None)
        assert environment.key(self.system, PARTIAL) == key
        return key

    def pip(self) -> tuple[str, ...]:
        """Return what pip was told behind its own options."""
        words = self.tasks[-1].words
        return words[words.index("--no-warn-script-location") + 1 :]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return a bench."""
    return Bench(tmp_path, monkeypatch)


TEXT = Python(file="requirements.txt")
PROJECT = Python(file="pyproject.toml")


def test_it_is_made_once_for_the_same_requirements(bench: Bench) -> None:
    first = bench.provide(TEXT, requirements_txt="flask\n")
    assert bench.pip() == ("-r", "requirements.txt")
    assert dict(bench.tasks[-1].env)["PYTHONPATH"].endswith("/pip-25-py3-none-any.whl")
    assert "--without-pip" in bench.tasks[0].words
    other = replace(TASK, commit="2" * 40)
    assert bench.provide(TEXT, other) == first
    assert bench.tasks == []


def test_whatever_it_is_made_of_makes_another(bench: Bench) -> None:
    keys = {bench.provide(TEXT, requirements_txt="-r more.txt\n", more_txt="flask\n")}
    keys.add(bench.provide(TEXT, more_txt="flask==3\n"))
    keys.add(bench.provide(TEXT, replace(TASK, env=(("PIP_INDEX_URL", "http://x"),))))
    keys.add(bench.provide(TEXT, requirements_txt="flask\n-f wheels\n"))
    bench.local = "other"
    keys.add(bench.provide(TEXT))
    keys.add(bench.provide(Python(requirements=("flask",))))
    assert len(keys) == 6
    assert len(bench.system.names(environment.place("mix"))) == 6
    assert bench.provide(TEXT, replace(TASK, env=(("FPS", "24"),))) in keys, "nothing to pip"


def test_a_list_is_given_to_pip_word_by_word(bench: Bench) -> None:
    bench.provide(Python(requirements=("flask[async]>=3 ; python_version > '3'", "$x")))
    assert bench.pip() == ("--", "flask[async]>=3 ; python_version > '3'", "$$x")


def test_a_project_that_is_no_package_only_needs_others(bench: Bench) -> None:
    key = bench.provide(PROJECT, pyproject_toml='[project]\ndependencies = ["flask", "a>1"]\n')
    assert bench.pip() == ("--", "flask", "a>1")
    assert bench.tasks[-1].writable == (
        (f"{environment.place('mix')}/{key}.partial", f"{environment.place('mix')}/{key}"),
    )
    assert (PARTIAL, FINAL) in bench.tasks[-1].readable


def test_a_project_that_is_a_package_is_installed_for_each_commit(bench: Bench) -> None:
    text = '[build-system]\nrequires = []\n[project]\nname = "x"\n'
    first = bench.provide(PROJECT, pyproject_toml=text)
    assert bench.pip() == ("--", "./")
    assert (PARTIAL, FINAL) in bench.tasks[-1].writable
    assert bench.provide(PROJECT, replace(TASK, commit="2" * 40)) != first


def test_nothing_needed_is_an_empty_environment(bench: Bench) -> None:
    bench.provide(PROJECT, pyproject_toml="[tool.ruff]\n")
    assert len(bench.tasks) == 1


@pytest.mark.parametrize(
    ("python", "files", "said"),
    [
        (TEXT, {}, "there is no requirements.txt in the release"),
        (TEXT, {"requirements_txt": "-r gone.txt"}, "there is no gone.txt in the release"),
        (PROJECT, {}, "there is no pyproject.toml in the release"),
        (PROJECT, {"pyproject_toml": "[project"}, "pyproject.toml: "),
    ],
)
def test_what_is_wrong_is_the_commits_fault(
    bench: Bench, python: Python, files: dict[str, str], said: str
) -> None:
    with pytest.raises(Unfit, match=said):
        bench.provide(python, TASK, **files)


def test_one_in_the_repository_is_refused(bench: Bench) -> None:
    make_tree(bench.root, {f"{PARTIAL}/.venv/bin/python": ""})
    with pytest.raises(Unfit, match=r"has a \.venv of its own"):
        bench.provide(TEXT, requirements_txt="")


def test_a_link_in_the_repository_is_not_followed(bench: Bench) -> None:
    bench.system.write("/etc/secret", b"flask\n")
    bench.system.symlink(f"{PARTIAL}/requirements.txt", "/etc/secret")
    with pytest.raises(Unfit, match=r"there is no requirements\.txt"):
        bench.provide(TEXT)


def test_those_that_no_release_links_to_go(bench: Bench) -> None:
    old = bench.provide(TEXT, requirements_txt="a\n")
    bench.system.rename(PARTIAL, "/var/lib/piot/apps/mix/releases/old")
    bench.system.mkdir(PARTIAL)
    new = bench.provide(TEXT, requirements_txt="b\n")
    place = environment.place("mix")
    bench.system.mkdir(f"{place}/half.partial")
    assert set(bench.system.names(place)) == {old, new, "half.partial"}
    environment.prune(bench.system, "mix", [PARTIAL])
    assert bench.system.names(place) == (new,)
    assert not environment.broken(bench.system, PARTIAL)
    assert environment.broken(bench.system, "/var/lib/piot/apps/mix/releases/old")
