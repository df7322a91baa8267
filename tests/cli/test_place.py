from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lrtune.cli.options import Common
from lrtune.cli.place import place_of

if TYPE_CHECKING:
    from pathlib import Path

TASK = "import lrtune\n\n\ndef make_task():\n    pass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a task and a config in folders."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "configs").mkdir()
    (tmp_path / "tasks" / "mine.py").write_text(TASK)
    (tmp_path / "configs" / "a.yaml").write_text("task: ../tasks/mine.py:make_task\n")
    (tmp_path / "configs" / "outside.yaml").write_text("task: ../../mine.py:make_task\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("configs/a.yaml", ("tasks/mine.py", 4)),
        ("tasks/mine.py:make_task", ("tasks/mine.py", 4)),
        ("tasks/mine.py:other", ("tasks/mine.py", 1)),
        ("tasks/none.py:make_task", ("tasks/none.py", 1)),
        ("configs/outside.yaml", None),
        ("json.decoder:JSONDecoder", None),
        ("no_such_package.module:make", None),
        ("configs/none.yaml", None),
        ("configs", None),
        (None, None),
    ],
)
def test_where_the_task_is_made(folder: Path, argument: str | None, expected: tuple[str, int] | None) -> None:
    """File and line of the function, from the root of the checkout; what lies outside is not pointed to."""
    assert place_of(Common(argument=argument)) == expected


def test_the_root_is_githubs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that runs in a folder of the checkout still names files from its root."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder.parent))
    assert place_of(Common(argument="configs/a.yaml")) == (f"{folder.name}/tasks/mine.py", 4)
