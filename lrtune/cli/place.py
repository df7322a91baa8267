"""Where the task of a command is written: the file and line that an annotation points to."""

from __future__ import annotations

import ast
import importlib.util
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from lrtune.errors import LrtuneError

if TYPE_CHECKING:
    from lrtune.cli.options import Common


def place_of(common: Common) -> tuple[str, int] | None:
    """Return file and line of the function that makes the task; None where there is none to name.

    The file is told from the root of the checkout (`GITHUB_WORKSPACE`, else the working directory).
    """
    from lrtune.cli.opened import read_config

    if common.argument is None or Path(common.argument).is_dir():
        return None
    with suppress(LrtuneError):
        config, folder = read_config(common.argument, common)
        name, _, function = str(config.task).rpartition(":")
        file = _file_of(name, folder)
        root = Path(os.environ.get("GITHUB_WORKSPACE") or ".").resolve()
        if file is not None and file.is_relative_to(root):
            return file.relative_to(root).as_posix(), _line_of(function, file)
    return None


def _file_of(name: str, folder: str | None) -> Path | None:
    if name.endswith(".py"):
        return (Path(folder or ".") / name).resolve()
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(name)
        return Path(spec.origin).resolve() if spec and spec.origin else None
    return None


def _line_of(function: str, file: Path) -> int:
    with suppress(OSError, SyntaxError, ValueError):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.FunctionDef) and node.name == function:
                return node.lineno
    return 1
