from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from lrtune.charts import chart, save

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


@pytest.mark.parametrize(
    ("suffix", "start"),
    [
        (".png", b"\x89PNG"),
        (".svg", b"<svg"),
        (".SVG", b"<svg"),
        (".html", b"<!DOCTYPE html>"),
        (".json", b"{"),
    ],
)
def test_save(made: ModuleType, tmp_path: Path, suffix: str, start: bytes) -> None:
    """The suffix decides what is written."""
    path = save(chart(made.check_init()), tmp_path / f"chart{suffix}")
    assert path.read_bytes().lstrip().startswith(start)


def test_html_is_self_contained(made: ModuleType, tmp_path: Path) -> None:
    """A saved page loads nothing from anywhere."""
    text = save(chart(made.check_init()), tmp_path / "chart.html").read_text()
    markup = re.sub(r"(<script[^>]*>).*?</script>", r"\1", text, flags=re.DOTALL)
    assert not re.search(r"\s(src|href)\s*=", markup)


def test_json_is_vega_lite(made: ModuleType, tmp_path: Path) -> None:
    """The specification is Vega-Lite that other tools read."""
    spec = json.loads(save(chart(made.check_init()), str(tmp_path / "chart.json")).read_text())
    assert "vega-lite" in spec["$schema"]


def test_unknown_suffix(made: ModuleType, tmp_path: Path) -> None:
    """An unknown suffix is refused with the names of the known ones, and nothing is written."""
    with pytest.raises(ValueError, match=r"expected .*\.png, \.svg, \.html, \.json, got 'chart\.pdf'"):
        save(chart(made.check_init()), tmp_path / "chart.pdf")
    assert not list(tmp_path.iterdir())
