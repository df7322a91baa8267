"""The results that the report's tests make up serve the charts as well."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """The factory of results."""
    path = Path(__file__).parents[1] / "reports" / "made.py"
    spec = importlib.util.spec_from_file_location("lrtune_tests_made", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
