from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from lrtune.reports.forms import TEXTS, write_pictures

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG\r\n"), ("svg", b"<svg")])
def test_every_chart_is_a_picture(made: ModuleType, tmp_path: Path, suffix: str, start: bytes) -> None:
    """Each chart of each step is a file of the kind asked for, named in the recipe's order."""
    results = {step: made.recipe()[step] for step in ("find-lr", "check-init")}
    written = write_pictures(results, tmp_path / "new", suffix)
    assert [path.name for path in written] == [
        f"1-check-init-initial-loss.{suffix}",
        f"3-find-lr-sweep.{suffix}",
    ]
    assert all(path.read_bytes().startswith(start) for path in written)
    if suffix == "svg":
        assert all(ElementTree.fromstring(path.read_text()).tag.endswith("svg") for path in written)


@pytest.mark.parametrize(("form", "start"), [("html", "<!doctype html>"), ("md", "# make")])
def test_texts(made: ModuleType, form: str, start: str) -> None:
    """The page and the Markdown are made of the same results and context."""
    assert TEXTS[form]({"find-lr": made.find_lr()}, {"task": "a/make"}).startswith(start)
