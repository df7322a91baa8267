"""Which files a task's code is made of: what its results depend on."""

from __future__ import annotations

import ast
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_INSTALLED = ("site-packages", "dist-packages")


def local_sources(file: Path, module: str) -> tuple[Path, ...]:
    """Return a file and those that its imports lead to, as far as they are the user's own: not installed packages.

    Read off the source, so that it does not depend on what else the process has imported.

    Args:
        file: The task's file.
        module: Its name as a module, for relative imports; a plain file has one of no dots.
    """
    found = {file.resolve()}
    waiting = [(file.resolve(), module)]
    while waiting:
        path, name = waiting.pop()
        for imported in dict.fromkeys(
            part for full in [name, *_imports(path, name)] for part in _ancestry(full)
        ):
            source = _own_file(imported, path.parent)
            if source is not None and source not in found:
                found.add(source)
                waiting.append((source, imported))
    return tuple(sorted(found))


def _ancestry(module: str) -> Iterator[str]:
    """Yield `a`, `a.b`, `a.b.c` of `a.b.c`: importing it runs them all."""
    parts = module.split(".")
    yield from (".".join(parts[: count + 1]) for count in range(len(parts)))


def _imports(path: Path, module: str) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _own_file(module: str, beside: Path) -> Path | None:
    """Return the source of a module of the user's; None for what is installed, built in or no module."""
    if module.partition(".")[0] == "lrtune":  # its version stands for it
        return None
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        if "." in module and module.rpartition(".")[0] not in sys.modules:
            return None
        file = _unloaded_file(module, beside)
    if file is None:
        return None
    path = Path(file).resolve()
    standard = Path(sys.base_prefix).resolve() in path.parents
    own = path.suffix == ".py" and path.is_file() and not standard and not set(_INSTALLED) & set(path.parts)
    return path if own else None


def _unloaded_file(module: str, beside: Path) -> str | None:
    """Find a module that is imported only later, inside a function."""
    plain = beside / f"{module}.py"
    if "." not in module and plain.is_file():
        return str(plain)
    try:
        spec = find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    return spec.origin if spec else None
