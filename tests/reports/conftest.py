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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One tab of a headless Chromium; skips where none is installed."""
    module = _load("browser")
    if module.executable() is None:
        pytest.skip("no Chromium is installed")
    page = module.Page(tmp_path_factory.mktemp("profile"))
    yield page
    page.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Callable[..., Any]:
    """Open HTML in the tab, freshly loaded and with nothing recorded before."""

    def start(text: str, width: int = 1280, height: int = 900) -> Any:
        path = tmp_path / "report.html"
        path.write_text(text, encoding="utf-8")
        browser.forget()
        browser.resize(width, height)
        browser.open(path)
        return browser

    return start
