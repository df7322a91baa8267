"""What every test has in common."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lrtune.storage import VARIABLE

if TYPE_CHECKING:
    from pathlib import Path

# Threads cost these small models more than they gain, twentyfold where the cores are shared; set before torch loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def no_hidden_bugs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what an examination would hide from a user, a bug in it, fail the test."""

    def told(error: Exception) -> str:
        raise error

    monkeypatch.setattr("lrtune.steps.examining.unexpected", told)


@pytest.fixture(autouse=True)
def no_storage_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the studies of tests out of the storage that the environment of whoever runs them names."""
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
