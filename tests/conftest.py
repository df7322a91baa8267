"""What every test has in common."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Threads cost these small models more than they gain, twentyfold where the cores are shared; set before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_hidden_bugs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what an examination would hide from a user, a bug in it, fail the test."""

    def told(error: Exception) -> str:
        raise error

    monkeypatch.setattr("lrtune.steps.examinations.unexpected", told)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
