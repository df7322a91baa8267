from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from lrtune import results
from lrtune.results import StepResult

if TYPE_CHECKING:
    from types import ModuleType

EVIL = "</div><script>alert(1)</script><img src=x onerror=alert(2)>"


class Tags(HTMLParser):
    """The tags of a fragment, and how deep its elements are nested at the end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag."""
        self.tags.append((tag, dict(attrs)))
        self.open += tag not in ("img",)

    def handle_endtag(self, tag: str) -> None:
        """Count."""
        self.open -= 1


@pytest.mark.parametrize("step", ["check-init", "find-lr", "report"])
def test_a_result_shows_itself(made: ModuleType, step: str) -> None:
    """A notebook gets a whole fragment that loads nothing and runs nothing, with a described picture in it."""
    result = made.recipe()[step]
    if step == "report":
        best = result.summary["best"]["curve"]
        result.curves = {best: made.recipe()["refine-grid"].curves[best]}
    html = result._repr_html_()
    found = Tags(html)
    assert found.open == 0
    assert {tag for tag, _ in found.tags}.isdisjoint({"script", "link", "style", "iframe"})
    images = [attrs for tag, attrs in found.tags if tag == "img"]
    assert images
    assert all(str(one["src"]).startswith("data:image/") and one["alt"] for one in images)


def test_findings_and_their_fix(made: ModuleType) -> None:
    """The verdict, each finding and what to do are in words."""
    html = made.find_lr()._repr_html_()
    for words in (
        "warnings",
        "noisy-suggestion",
        "The repeats differ by a factor of 4.2.",
        "Extend the grid",
    ):
        assert words in html


def test_strings_of_the_user_are_text(made: ModuleType) -> None:
    """Markup in a message or a name is shown, never run."""
    wrong = made.finding(EVIL, "error", message=EVIL, fix=EVIL)
    html = StepResult("overfit", [wrong], {EVIL: EVIL})._repr_html_()
    assert html is not None
    found = Tags(html)
    assert found.open == 0
    assert "script" not in [tag for tag, _ in found.tags]
    assert [attrs for tag, attrs in found.tags if attrs.get("src") == "x"] == []


def test_pictures_are_what_they_say(made: ModuleType) -> None:
    """A chart of few marks is an SVG file, a crowded one a PNG file."""
    kinds = {}
    for step in ("check-init", "overfit"):
        address = re.search(r'src="data:image/([a-z+]+);base64,([^"]+)"', made.recipe()[step]._repr_html_())
        assert address is not None
        kinds[address[1]] = base64.b64decode(address[2])
    assert kinds["svg+xml"].startswith(b"<svg")
    assert kinds["png"].startswith(b"\x89PNG")


def test_a_run_has_a_part_a_step(made: ModuleType) -> None:
    """Of a whole run every step can be unfolded; those with something to mind are open."""
    run = StepResult("run", steps=[made.check_init(), made.find_lr()])
    details = [attrs for tag, attrs in Tags(run._repr_html_() or "").tags if tag == "details"]
    assert ["open" in attrs for attrs in details] == [False, True]


def test_without_the_package_there_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing draws, a notebook falls back on the one line."""
    monkeypatch.setattr(results, "notebook_html", None)
    assert StepResult("overfit")._repr_html_() is None
