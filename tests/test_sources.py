from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.sources import local_sources
from lrtune.task_file import load_task

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TASK = """
import json
import torch
import {helper}
import lrtune
def make_task():
    return lrtune.Task(model=lambda: torch.nn.Linear(1, 1), train=[(torch.ones(1, 1), torch.ones(1, 1))],
                       loss=torch.nn.functional.mse_loss)
"""


def names(paths: tuple[Path, ...]) -> list[str]:
    """The files' names."""
    return sorted(path.name for path in paths)


def test_a_task_is_made_of_its_file_and_what_it_imports(tmp_path: Path) -> None:
    """Modules of the user's count, also those that these import; torch, lrtune and Python's own do not."""
    (tmp_path / "sources_task.py").write_text(TASK.format(helper="sources_helper"))
    (tmp_path / "sources_helper.py").write_text("import sources_deeper\n")
    (tmp_path / "sources_deeper.py").write_text("x = 1\n")
    (tmp_path / "sources_stranger.py").write_text("raise RuntimeError\n")
    task = load_task("sources_task.py:make_task", folder=tmp_path)
    assert names(task.sources) == ["sources_deeper.py", "sources_helper.py", "sources_task.py"]


def test_what_else_is_loaded_does_not_count(tmp_path: Path) -> None:
    """The same task has the same sources whatever the process has imported since."""
    for name in ("one", "two"):
        (tmp_path / f"sources_{name}.py").write_text(TASK.format(helper="math"))
    first = load_task("sources_one.py:make_task", folder=tmp_path).sources
    load_task("sources_two.py:make_task", folder=tmp_path)
    assert load_task("sources_one.py:make_task", folder=tmp_path).sources == first
    assert names(first) == ["sources_one.py"]


def test_relative_imports_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`from ..models import net` leads to the sibling package's file, and to what importing it runs."""
    package = tmp_path / "sources_package"
    (package / "sub").mkdir(parents=True)
    for folder in (package, package / "sub"):
        (folder / "__init__.py").write_text("")
    (package / "models.py").write_text("width = 3\n")
    text = TASK.format(helper="math").replace("import math", "from ..models import width")
    (package / "sub" / "tasks.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    task = load_task("sources_package.sub.tasks:make_task")
    assert names(task.sources) == ["__init__.py", "__init__.py", "models.py", "tasks.py"]


def test_an_import_inside_a_function_counts(tmp_path: Path) -> None:
    """A module that is imported only later belongs to the sources all the same."""
    (tmp_path / "sources_late.py").write_text("def f():\n    import sources_later\n")
    (tmp_path / "sources_later.py").write_text("")
    found = local_sources(tmp_path / "sources_late.py", "sources_late")
    assert names(found) == ["sources_late.py", "sources_later.py"]
