"""Fixtures of all tests: the releases, machines on them, git servers."""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.kit import bed, roots
from tests.kit.gitserver import GitServer
from tests.kit.machine import Machine

# Where the machines of a test are kept, so that a failure can be explained by their journals.
MACHINES = pytest.StashKey[list[Machine]]()

TESTS = Path(__file__).parent
SLOW = ("machine", "deb", "vm", "slow")
ORDER = ("unit", "cases", "root", "vm", "deb", "machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --release and --quick."""
    parser.addoption("--release", action="append", choices=roots.RELEASES, help="default: both")
    parser.addoption("--quick", action="store_true", help="leave out machines and the package")
    parser.addoption("--long", action="store_true", help="all, where the rule is a sample")
    parser.addoption("--cuts", type=int, help="how often tests/vm cuts the power; 3, or 30 if long")
    parser.addoption("--seed", type=int, help="draw again what a run drew by lot: its number")


def pytest_configure(config: pytest.Config) -> None:
    """Clear what an earlier run, killed in the middle, may have left mounted."""
    if _can_boot():
        bed.sweep()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for `release` on every release."""
    if "release" in metafunc.fixturenames:
        metafunc.parametrize("release", roots.RELEASES, scope="session")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what boots machines or builds the package, skip what cannot; put quick tests first."""
    items.sort(key=lambda item: ORDER.index(_folder(item)) if _folder(item) in ORDER else 0)
    for item in items:
        if _folder(item) in ("deb", "machine", "vm"):
            item.add_marker(_folder(item))
        # Workers share out files; of a machine that lives through a file, each release is one.
        item.add_marker(pytest.mark.xdist_group(_group(item)))
        # Continuous integration must fail rather than pass for want of a machine.
        boots = any(map(item.get_closest_marker, ("machine", "vm")))
        if boots and not _can_boot() and "CI" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="needs root, systemd-nspawn and mmdebstrap"))
    left_out = [item for item in items if not _wanted(config, item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if _wanted(config, item)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Add the journals of a failed test's machines to its report, while they still run."""
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed and report.when == "call":
        for machine in item.stash.get(MACHINES, []):
            report.sections.append((f"{machine.release} {machine.name}", machine.diagnosis()))
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session")
def root(release: str, pytestconfig: pytest.Config) -> roots.Root:
    """Return the cached root of a release; the first build shows its progress."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    assert capture
    with capture.global_and_fixture_disabled():
        return roots.base(release)


@pytest.fixture
def machine(root: roots.Root, request: pytest.FixtureRequest) -> Iterator[Callable[..., Machine]]:
    """Return a maker of machines, still off, with Machine's keywords; all end with the test."""
    made = request.node.stash.setdefault(MACHINES, [])
    with ExitStack() as stack:

        def make(on: roots.Root = root, **options: object) -> Machine:
            new = stack.enter_context(Machine(on, **options))  # type: ignore[arg-type]
            made.append(new)
            return new

        yield make


@pytest.fixture
def git_server() -> Iterator[Callable[..., GitServer]]:
    """Return a maker of git servers on a machine's network."""
    with ExitStack() as stack:

        def make(machine: Machine, *, tls: bool = False) -> GitServer:
            return stack.enter_context(GitServer(machine.folder / "git", machine.network, tls=tls))

        yield make


@pytest.fixture
def local_git(tmp_path: Path) -> Iterator[GitServer]:
    """Return a git server on loopback."""
    with GitServer(tmp_path / "git-server") as server:
        yield server


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Return what shows a line at the end of the run: a number that the test found out."""
    return lambda line: request.node.user_properties.append(("found out", line))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Show what the tests found out."""
    stats = terminalreporter.stats
    reports = [*stats.get("passed", []), *stats.get("failed", [])]
    notes = [note for report in reports for note in report.user_properties]
    told = [text for key, text in notes if key == "found out"]
    if told:
        terminalreporter.section("found out")
        for line in dict.fromkeys(told):
            terminalreporter.write_line(line)


@pytest.fixture
def lot(request: pytest.FixtureRequest, tell: Callable[[str], None]) -> random.Random:
    """Return what draws by lot; its seed is shown at the end, and taken again with --seed."""
    seed = request.config.getoption("--seed")
    seed = random.randrange(10**6) if seed is None else seed
    tell(f"{request.node.name} --seed {seed}")
    return random.Random(seed)


@pytest.fixture
def memory() -> Iterator[Path]:
    """Return a directory in memory if there is one, for what copies a tree a thousand times."""
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with TemporaryDirectory(prefix="piot-", dir=where) as folder:
        yield Path(folder)


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""


def _wanted(config: pytest.Config, item: pytest.Item) -> bool:
    """Tell whether --quick, --long and --release leave a test in."""
    if item.get_closest_marker("long") and not config.getoption("--long"):
        return False
    if config.getoption("--quick") and any(map(item.get_closest_marker, SLOW)):
        return False
    wanted = config.getoption("--release") or roots.RELEASES
    return not _releases(item) or not set(_releases(item)).isdisjoint(wanted)


def _group(item: pytest.Item) -> str:
    """Name what has to run in one worker."""
    return "-".join([_folder(item), item.path.stem, *_releases(item)])


def _releases(item: pytest.Item) -> list[str]:
    """Name the releases that a test runs on, if it asks for any."""
    spec = getattr(item, "callspec", None)
    return [value for value in spec.params.values() if value in roots.RELEASES] if spec else []


def _can_boot() -> bool:
    tools = all(shutil.which(tool) for tool in ("systemd-nspawn", "mmdebstrap", "ip"))
    return os.geteuid() == 0 and tools
