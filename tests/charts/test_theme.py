from __future__ import annotations

from lrtune.charts.theme import base, titled


def test_a_long_subtitle_is_set_in_lines() -> None:
    """A subtitle that is longer than the chart is wide is wrapped between words, none of which is lost."""
    subtitle = " ".join(f"word{i}" for i in range(40))
    lines = titled(base([{}]).mark_point(), "title", subtitle).to_dict()["title"]["subtitle"]
    assert len(lines) > 1
    assert max(map(len, lines)) <= 100
    assert " ".join(lines) == subtitle


def test_no_subtitle() -> None:
    """Without one there is no line for it."""
    assert "subtitle" not in titled(base([{}]).mark_point(), "title").to_dict()["title"]
