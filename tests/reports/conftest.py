"""The made-up results and the browser, for the tests in this folder."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

_HERE = Path(__file__).parent


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"lrtune_tests_{name}", _HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def made() -> ModuleType:
    """The factory of results."""
    return _load("made")


@pytest.fixture
def open_page(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open HTML in a headless Chromium; skips where none is installed."""
    browser = _load("browser")
    if browser.executable() is None:
        pytest.skip("no Chromium is installed")
    opened: list[Any] = []

    def start(text: str, **options: Any) -> Any:
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        opened.append(browser.Page(tmp_path / f"profile-{len(opened)}", **options))
        opened[-1].open(path)
        return opened[-1]

    yield start
    for page in opened:
        page.close()
