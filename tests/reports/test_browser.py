from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lrtune.reports.html import render

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

# Where a trial's cell lies in the window: the map's scales say where within its canvas.
CELL = """(() => {
  const box = document.getElementById("chart-coarse-grid-heat-map");
  box.scrollIntoView({block: "center", behavior: "instant"});
  const view = window.lrtune.charts.get("coarse-grid-heat-map").view;
  const [x, y] = [view.scale("x"), view.scale("y")];
  const at = box.querySelector("canvas").getBoundingClientRect(), [left, top] = view.origin();
  return [at.left + left + x(LR) + x.bandwidth() / 2, at.top + top + y(DECAY) + y.bandwidth() / 2];
})()"""
CHOSEN = """[...window.lrtune.charts].filter(([, chart]) => chart.linked).map(
  ([id, {view}]) => [id, (view.signal("trial") || {}).curve || []])"""
# The marks of a chart that are drawn strongly, by trial.
STRONG = """(() => {
  const found = new Set();
  (function walk(item) {
    if (item.items) item.items.forEach(walk);
    const curve = item.datum && item.datum.curve;
    if (curve && item.mark.marktype === "MARK" && item.opacity === 1) found.add(curve);
  })(window.lrtune.charts.get("CHART").view.scenegraph().root);
  return [...found];
})()"""
COARSE = ["coarse-grid-heat-map", "coarse-grid-epochs", "coarse-grid-loss-curves"]


@pytest.fixture
def page(made: ModuleType, open_page: Callable[..., Any]) -> Any:
    """The page of a whole run, opened."""
    return open_page(render(made.recipe(), "digits", made.CONTEXT))


def chosen(page: Any) -> dict[str, list[str]]:
    """Return the trials that each linked chart shows as selected, those with none left out."""
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    return {name: curves for name, curves in page.evaluate(CHOSEN) if curves}


def click_cell(page: Any, trial: dict[str, Any]) -> None:
    """Click a trial's cell in the heat map."""
    place = CELL.replace("LR", json.dumps(trial["lr"])).replace("DECAY", json.dumps(trial["weight_decay"]))
    page.click(*page.evaluate(place))


def test_opens_clean_and_offline(page: Any) -> None:
    """The page opens without an error or warning on the console, and asks for nothing but itself."""
    said = [e["entry"]["text"] for e in page.seen("Log.entryAdded")]
    assert (page.seen("Runtime.exceptionThrown"), page.seen("Runtime.consoleAPICalled"), said) == ([], [], [])
    urls = [event["request"]["url"] for event in page.seen("Network.requestWillBeSent")]
    assert [url for url in urls if not url.startswith("data:")] == [page.evaluate("location.href")]
    drawn = page.evaluate(
        "[...document.querySelectorAll('canvas')].every(c => c.width > 100 && c.height > 40)"
    )
    assert drawn
    assert page.evaluate("document.querySelectorAll('canvas').length") == 11


def test_click_selects_everywhere(page: Any, made: ModuleType) -> None:
    """A click on a cell selects its trial in all charts of it and in the table; a second click lets it go."""
    trial = made.grid().summary["trials"][4]
    click_cell(page, trial)
    assert chosen(page) == {name: [trial["curve"]] for name in COARSE}
    assert page.evaluate("[...document.querySelectorAll('tr.on')].map(r => r.dataset.trial)") == [
        trial["curve"]
    ]
    lines = STRONG.replace("CHART", COARSE[2]).replace("MARK", "line")
    assert page.evaluate(lines) == [trial["curve"]]
    click_cell(page, trial)
    assert chosen(page) == {}
    assert page.evaluate("document.querySelectorAll('tr.on').length") == 0


def test_another_click_moves_the_selection(page: Any, made: ModuleType) -> None:
    """Selecting a second trial releases the first."""
    first, second = made.grid().summary["trials"][1:3]
    click_cell(page, first)
    click_cell(page, second)
    assert chosen(page) == {name: [second["curve"]] for name in COARSE}


def test_diverged_trial_can_be_selected(page: Any, made: ModuleType) -> None:
    """A trial that diverged is found in the other charts as well."""
    trial = made.grid().summary["trials"][-1]
    click_cell(page, trial)
    assert chosen(page)["coarse-grid-loss-curves"] == [trial["curve"]]


def test_keyboard(page: Any) -> None:
    """A row is reached and selected by keyboard, its charts follow, and Escape clears."""
    button = "document.querySelector('tr[data-trial=\"refine-003\"] button')"
    page.evaluate(f"{button}.focus()")
    page.press("Enter", 13, text="\r")
    names = {"refine-grid-trial-scatter", "refine-grid-epochs", "refine-grid-loss-curves"}
    assert chosen(page) == {name: ["refine-003"] for name in names}
    assert page.evaluate(f"{button}.getAttribute('aria-pressed')") == "true"
    bar = page.evaluate("document.querySelector('.selected').innerText")
    assert bar.startswith("refine-003, learning rate 0.0696, weight decay 3.01e-6")
    page.press("Escape", 27)
    assert chosen(page) == {}
    assert page.evaluate("document.querySelector('.selected').hidden")


def test_theme_change_keeps_the_selection(page: Any, made: ModuleType) -> None:
    """When the reader's system turns dark, the charts are drawn anew with the same trial selected."""
    trial = made.grid().summary["trials"][0]
    click_cell(page, trial)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    page.wait(
        "window.lrtune.charts.get('report-loss-curves').view.scenegraph().root && "
        "[...document.querySelectorAll('canvas')].length === 11"
    )
    page.evaluate("new Promise(done => setTimeout(done, 2500))")
    assert chosen(page) == {name: [trial["curve"]] for name in COARSE}


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_sideways_scrolling(made: ModuleType, open_page: Callable[..., Any], width: int) -> None:
    """At any width the page itself fits; charts shrink and tables scroll in their own boxes."""
    page = open_page(render(made.recipe(), "a/very/long/path/" * 6, made.CONTEXT), width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = (
        "[...document.querySelectorAll('canvas')].every(c => c.getBoundingClientRect().right <= innerWidth)"
    )
    assert page.evaluate(wide)


def test_hostile_strings_run_nothing(made: ModuleType, open_page: Callable[..., Any]) -> None:
    """Markup in the user's strings is shown, never run."""
    evil = "</script><img src=x onerror='window.hacked=1'><script>window.hacked=1</script>"
    results = {"coarse-grid": made.grid()}
    results["coarse-grid"].findings.append(made.finding(evil, "error", message=evil))
    page = open_page(render(results, evil, {"device": evil}))
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("document.querySelector('h1').textContent") == evil
