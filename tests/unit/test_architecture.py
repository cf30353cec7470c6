"""Who may import whom in piot_firstboot, read from the source itself."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "piot_firstboot"

# Those of the shell that are between PioT and git.
REPOSITORIES = frozenset(
    "access deploykey lfs lsrefs mirror refusal repository submodules tree verify".split()
)
# A module that is not named here is core, and so held to the strictest rules.
SHELL = REPOSITORIES | frozenset(
    "ask timetable folder checkout "
    "system files accounts apply observe device state release probe probation transaction "
    "gate guard verdict deadman diskspace stick "
    "journal notify report idle tls trial link profiles vault wake "
    "clock locales overruling handover "
    "converge intake ledger live perform portal accesspoint radio passwords keyserver wayin "
    "packages confined environment build untouched "
    "serverkeys host neighbours spawn".split()
)
VERBS = frozenset(
    "preview compare init "
    "convert ping eject fallback firstboot deploy hold why heard bootguard status check logs "
    "health secret setup".split()
)
TOP = frozenset("cli commands arguments options laptop_commands laptop_arguments __main__".split())
NEUTRAL = frozenset({"errors", "__init__"})  # anyone may import these; they import nothing of ours

MAY_IMPORT = {
    "errors": set(),
    "core": {"core", "errors"},
    "shell": {"core", "shell", "errors"},
    "verbs": {"core", "shell", "errors"},
    "cli": {"core", "shell", "verbs", "errors", "cli"},
}

# Modules that cost time or touch the world, and the only rooms they may be in.
ONLY_IN = {
    "subprocess": {"system", "ask"},
    "posix": {"idle", "lsrefs", "spawn"},
    "yaml": {"yamltext"},
    "requests": {"probe", "keyserver"},
    "sdnotify": {"notify"},
    "systemd": {"journal"},
    "configparser": set(),
    "logging": set(),
    "importlib.metadata": set(),
    "pkg_resources": set(),
}
IMPURE = {
    "os",
    "posix",
    "subprocess",
    "socket",
    "time",
    "shutil",
    "tempfile",
    "threading",
    "select",
    "fcntl",
}
MOST_LINES = 350


@dataclass(frozen=True, slots=True)
class Module:
    """One source file of the package and its syntax tree."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def layer(self) -> str:
        """Return the layer this module belongs to."""
        if self.name in NEUTRAL:
            return "errors"
        if self.name in SHELL:
            return "shell"
        if self.name in VERBS:
            return "verbs"
        return "cli" if self.name in TOP else "core"


@dataclass(frozen=True, slots=True)
class Import:
    """One import statement: what it names, on which line, and whether it runs at once."""

    name: str
    line: int
    at_once: bool


def _modules() -> list[Module]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found.append(Module(name, path, ast.parse(path.read_text(), str(path))))
    return found


MODULES = _modules()
LAYERS = {module.name.removesuffix(".__init__"): module.layer for module in MODULES}
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda m: m.name)


def _imports(node: ast.AST, at_once: bool = True) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, child.lineno, at_once)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"line {child.lineno}: relative imports are not used here"
            for alias in child.names:
                yield Import(f"{child.module}.{alias.name}", child.lineno, at_once)
        elif isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue  # never runs
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, at_once and not function)


def _ours(name: str) -> str | None:
    """Return the module of ours that an import names, "" for the package itself."""
    if name.split(".")[0] != "piot_firstboot":
        return None
    parts = name.split(".")[1:]
    while parts and ".".join(parts) not in LAYERS:
        parts.pop()
    return ".".join(parts)


@every_module
def test_a_module_imports_only_from_layers_below(module: Module) -> None:
    allowed = MAY_IMPORT[module.layer]
    wrong = []
    for item in _imports(module.tree):
        ours = _ours(item.name)
        if ours and LAYERS[ours] not in allowed and ours != module.name:
            wrong.append(f"line {item.line}: {module.layer} imports {ours} ({LAYERS[ours]})")
    assert not wrong


@every_module
def test_costly_modules_stay_in_their_rooms(module: Module) -> None:
    wrong = []
    for item in _imports(module.tree):
        for name, rooms in ONLY_IN.items():
            inside = item.name == name or item.name.startswith(f"{name}.")
            if inside and module.name not in rooms:
                where = " or ".join(sorted(rooms)) or "no module"
                wrong.append(f"line {item.line}: {name} is imported in {where} only")
    assert not wrong


@every_module
def test_core_does_not_touch_the_world(module: Module) -> None:
    if module.layer not in ("core", "errors"):
        return
    wrong = [
        f"line {item.line}: imports {item.name}"
        for item in _imports(module.tree)
        if item.name.split(".")[0] in IMPURE
    ]
    wrong += [
        f"line {node.lineno}: calls open()"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "open"
    ]
    assert not wrong


@every_module
def test_processes_are_spawned_in_one_place(module: Module) -> None:
    rooms = {
        "os.posix_spawn": set(),
        "posix.posix_spawn": {"spawn"},
        "os.exec": {"system"},
        "os.fork": set(),
        "os.system": set(),
    }
    wrong = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute)
        for call, allowed in rooms.items()
        if ast.unparse(node).startswith(call) and module.name not in allowed
    ]
    assert not wrong


@every_module
def test_the_entry_imports_its_verbs_when_they_are_called(module: Module) -> None:
    if module.layer != "cli":
        return
    cheap = {"errors", "", *TOP}
    wrong = [
        f"line {item.line}: {item.name} at module level"
        for item in _imports(module.tree)
        if item.at_once and (ours := _ours(item.name)) is not None and ours not in cheap
    ]
    assert not wrong


@every_module
def test_a_room_stays_small(module: Module) -> None:
    assert len(module.path.read_text().splitlines()) <= MOST_LINES


@every_module
def test_public_functions_say_what_they_do(module: Module) -> None:
    wrong = [
        f"line {node.lineno}: {node.name} has no docstring"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
        and node in _public(module.tree)
    ]
    assert not wrong
    assert module.name.endswith("__init__") or ast.get_docstring(module.tree)


def _public(tree: ast.Module) -> list[ast.stmt]:
    """Return the statements of a module and of its public classes."""
    found = list(tree.body)
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found += node.body
    return found
