from __future__ import annotations

import ast
import doctest
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import lrtune

ROOT = Path(lrtune.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# The design's list, section 5: a part imports only from those after it.
DOWNWARDS = (
    "__main__",
    "cli",
    "testing",
    "api",
    "checking",
    "recipe",
    "worker",
    "workshop",
    "grids",
    "studies",
    "reporting",
    "exports",
    "steps",
    "reports",
    "charts",
    "study",
    "baseline_file",
    "baseline",
    "checks",
    "probes",
    "population",
    "data",
    "plan_file",
    "shelf",
    "run_dir",
    "curve_file",
    "provenance",
    "results",
    "config_file",
    "config",
    "config_faults",
    "task_file",
    "sources",
    "task",
    "deadline",
    "progress",
    "random_state",
    "environment",
    "storage",
    "user_trace",
    "errors",
    "atomic_file",
    "folder_lock",
    "version",
)
FACADE = "__init__"  # `lrtune` itself: hands names out, lazily, and so may name every part

# Packages that one part alone imports, anywhere in a file.
ALONE = {"typer": "cli", "rich": "cli", "optuna": "study"}


def name_of(path: Path) -> str:
    """Return a module's name below `lrtune`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part_of(module: str) -> str:
    """Return the top-level part of `lrtune.charts.theme` (charts), the facade for `lrtune` alone."""
    inner = module.split(".")[1:]
    return inner[0] if inner else FACADE


def imports_of(path: Path) -> list[tuple[int, str]]:
    """Return (line, module) of every import of a file, in functions and under TYPE_CHECKING too."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide where an arrow leads"
            module = node.module or ""
            names = [f"lrtune.{alias.name}" for alias in node.names] if module == "lrtune" else []
            found += [(node.lineno, name) for name in names or [module]]
    return found


def test_every_part_has_a_place_in_the_order() -> None:
    """Each file and folder of the package stands in the list, and nothing stands there that is not in the package."""
    parts = {path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES}
    assert parts - {FACADE} == set(DOWNWARDS)


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.parent != ROOT or path.stem != FACADE], ids=name_of
)
def test_no_import_runs_up(path: Path) -> None:
    """A file imports from its own part and from parts below it, never from one above."""
    source = path.relative_to(ROOT).parts[0].removesuffix(".py")
    rank = DOWNWARDS.index(source)
    arrows = [
        f"{path.relative_to(ROOT)}:{line} imports {module}"
        for line, module in imports_of(path)
        if module.split(".")[0] == "lrtune"
        and part_of(module) != source
        and (part_of(module) not in DOWNWARDS or DOWNWARDS.index(part_of(module)) <= rank)
    ]
    assert arrows == []


@pytest.mark.parametrize(("package", "home"), ALONE.items(), ids=lambda value: str(value))
def test_a_library_has_one_home(package: str, home: str) -> None:
    """Typer and rich are imported by cli alone, optuna by study alone."""
    users = {
        path.relative_to(ROOT).parts[0].removesuffix(".py")
        for path in FILES
        for _, module in imports_of(path)
        if module.split(".")[0] == package
    }
    assert users == {home}


def test_only_the_engine_backpropagates() -> None:
    """A call of `.backward(` stands in population/ and nowhere else."""
    callers = {
        path.relative_to(ROOT).parts[0].removesuffix(".py")
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "backward"
    }
    assert callers == {"population"}


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import lrtune", id="import lrtune"),
        pytest.param("import lrtune; dir(lrtune); lrtune.__version__", id="looking at its names"),
        pytest.param("import lrtune; lrtune.Config, lrtune.Task, lrtune.ConfigError", id="Config and Task"),
        pytest.param("sys.argv = ['lrtune', '--help']; import lrtune.cli as c; c.main()", id="lrtune --help"),
        pytest.param(
            "sys.argv = ['lrtune', 'run', '-h']; import lrtune.cli as c; c.main()", id="lrtune run -h"
        ),
        pytest.param(
            "sys.argv = ['lrtune', 'run', 'no.yaml']; import lrtune.cli as c; c.main()", id="a wrong path"
        ),
    ],
)
def test_light_uses_import_nothing_heavy(code: str) -> None:
    """Importing lrtune, its help and the answer to a wrong config load neither torch nor optuna nor altair."""
    heavy = "sorted({'torch', 'optuna', 'altair', 'scipy', 'numpy'} & set(sys.modules))"
    script = f"import sys; {code}; print('heavy:', {heavy})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heavy: []"


@pytest.mark.parametrize("name", lrtune.__all__)
def test_every_public_name_loads(name: str) -> None:
    """Each name of `lrtune.__all__` is there, and the facade knows no other."""
    assert getattr(lrtune, name) is not None
    assert name in dir(lrtune)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """`lrtune.nonsense` fails as on any module, so that hasattr and typos work as usual."""
    with pytest.raises(AttributeError, match="module 'lrtune' has no attribute 'nonsense'"):
        _ = lrtune.nonsense


WITH_DOCTESTS = [path for path in FILES if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_DOCTESTS, ids=name_of)
def test_doctests(path: Path) -> None:
    """The examples in docstrings give what they say."""
    name = name_of(path)
    module = importlib.import_module("lrtune" if name == FACADE else f"lrtune.{name}")
    # The names that an example uses without importing them, as a reader would have them.
    torch = importlib.import_module("torch")
    done = doctest.testmod(module, extraglobs={"torch": torch, "lrtune": lrtune})
    assert done.attempted > 0
    assert done.failed == 0
