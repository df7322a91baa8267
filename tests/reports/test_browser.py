from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from lrtune.charts import chart, save
from lrtune.reports.compare import Run, compare
from lrtune.reports.compare_forms import compared_html
from lrtune.reports.html import render
from lrtune.results import StepResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
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
# The middle of a trial's cell in a chart that stands alone, its groups' places added up.
RECT = """(() => {
  const at = document.querySelector(".marks").getBoundingClientRect(), [left, top] = window.view.origin();
  return (function find(item, x, y) {
    if (item.mark && item.mark.marktype === "rect" && item.datum && item.datum.curve === "TRIAL")
      return [x + item.x + item.width / 2, y + item.y + item.height / 2];
    const inside = item.mark && item.mark.marktype === "group" ? [x + (item.x || 0), y + (item.y || 0)] : [x, y];
    for (const child of item.items || []) {
      const found = find(child, ...inside);
      if (found) return found;
    }
    return null;
  })(window.view.scenegraph().root, at.left + left, at.top + top);
})()"""
COARSE = ["coarse-grid-heat-map", "coarse-grid-epochs", "coarse-grid-loss-curves"]


@pytest.fixture(scope="module")
def whole(made: ModuleType) -> str:
    """The page of a whole run under a long name."""
    return render(made.recipe(), "a/very/long/path/" * 6, made.CONTEXT)


@pytest.fixture
def page(whole: str, open_page: Callable[..., Any]) -> Any:
    """The page of a whole run, opened."""
    return open_page(whole)


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
    page.evaluate("delete document.documentElement.dataset.drawn")
    page.theme(dark=True)
    page.wait("document.documentElement.dataset.drawn")
    assert chosen(page) == {name: [trial["curve"]] for name in COARSE}


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_sideways_scrolling(whole: str, open_page: Callable[..., Any], width: int) -> None:
    """At any width the page itself fits; charts shrink and tables scroll in their own boxes."""
    page = open_page(whole, width=width)
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


def test_saved_chart_selects(made: ModuleType, browser: Any, tmp_path: Path) -> None:
    """A chart by itself, as a notebook shows it, has the same selection, let go by a second click."""
    trial = made.grid().summary["trials"][4]["curve"]
    path = save(chart(made.grid()), tmp_path / "chart.html")
    kept = "spec, embedOpt).then(done => { window.view = done.view; return done; })"
    path.write_text(path.read_text().replace("spec, embedOpt)", kept))
    browser.forget()
    browser.resize(1280, 1400)
    browser.call("Page.navigate", url=path.as_uri())
    browser.wait("!!window.view")
    place = browser.evaluate(RECT.replace("TRIAL", trial))
    store = "window.view.data('trial_store').map(tuple => tuple.values[0])"
    for expected in ([trial], []):
        browser.click(*place)
        browser.evaluate("new Promise(done => setTimeout(done, 100))")
        assert browser.evaluate(store) == expected


def test_a_trial_that_is_not_drawn_joins(made: ModuleType, open_page: Callable[..., Any]) -> None:
    """Of a crowd, a trial chosen in the table comes into the charts of curves, and leaves them when it is let go."""
    curves = {f"refine-{i:03d}": made.curve(0.05, i, 200, 2) for i in range(60)}
    trials = [made.trial(name, 0.01 * 1.05**i, 1e-4, one) for i, (name, one) in enumerate(curves.items())]
    crowd = StepResult("refine-grid", [], {"best": trials[0], "trials": trials}, curves=curves)
    page = open_page(render({"refine-grid": crowd}, "crowd", made.CONTEXT))
    count = (
        "window.lrtune.charts.get('refine-grid-loss-curves').view.data('point')"
        ".filter(row => row.curve === 'refine-016').length"
    )
    assert page.evaluate(count) == 0
    page.evaluate("document.querySelector('tr[data-trial=\"refine-016\"] button').click()")
    assert chosen(page)["refine-grid-loss-curves"] == ["refine-016"]
    assert 40 <= page.evaluate(count) <= 60
    lines = STRONG.replace("CHART", "refine-grid-loss-curves").replace("MARK", "line")
    assert page.evaluate(lines) == ["refine-016"]
    page.press("Escape", 27)
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    assert page.evaluate(count) == 0


def test_copies(page: Any) -> None:
    """The button copies the settings, or where there is no clipboard selects and copies them; it says so."""
    page.evaluate(
        "document.addEventListener('copy', () => { window.copied = String(window.getSelection()); })"
    )
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    button = "document.querySelector('[data-copy=copy-1]')"
    assert not page.evaluate(f"{button}.hidden")
    place = page.evaluate(
        f"(() => {{ {button}.scrollIntoView({{block: 'center', behavior: 'instant'}});"
        f"const at = {button}.getBoundingClientRect();"
        "return [at.left + at.width / 2, at.top + at.height / 2]; })()"
    )
    page.click(*place)
    page.wait("document.getElementById('spoken').textContent")
    assert page.evaluate("document.getElementById('spoken').textContent") == "Copied"
    assert page.evaluate("window.copied").startswith("learning_rate: 0.06769")


def test_tab_passes_through(page: Any) -> None:
    """The tabulator goes on from every element that it reaches: nothing keeps the keyboard."""
    seen = "(window.walk = window.walk || []).push(document.activeElement)"
    for _ in range(40):
        page.press("Tab", 9)
        page.evaluate(seen)
    assert page.evaluate("new Set(window.walk).size") == 40
    assert page.evaluate("window.walk[0].className") == "skip"


def test_charts_have_a_spoken_name(page: Any) -> None:
    """A screen reader finds every chart as a picture with a description."""
    named = (
        "[...document.querySelectorAll('[data-chart]')].map(box => box.matches('[role]') ? box : "
        "box.querySelector('[role=graphics-document]')).every(box => box && box.getAttribute('aria-label'))"
    )
    assert page.evaluate(named)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_phone_without_errors(whole: str, open_page: Callable[..., Any], dark: bool) -> None:
    """At phone width too, in either theme, the console stays empty."""
    page = open_page(whole, width=390)
    if dark:
        page.evaluate("delete document.documentElement.dataset.drawn")
        page.theme(dark=True)
        page.wait("document.documentElement.dataset.drawn")
    said = [e["entry"]["text"] for e in page.seen("Log.entryAdded")]
    assert (page.seen("Runtime.exceptionThrown"), page.seen("Runtime.consoleAPICalled"), said) == ([], [], [])


def test_text_of_other_directions_stays_within(made: ModuleType, open_page: Callable[..., Any]) -> None:
    """A name that turns the writing round, and emoji, change nothing around them."""
    title = '\u202eשלום 🎉 "quoted" </script>'
    results = made.recipe()
    results["check-init"].findings.append(made.finding("initial-loss-high", "error", message=title))
    page = open_page(render(results, title, made.CONTEXT | {"task": title}))
    assert page.evaluate("document.querySelector('h1').textContent") == title
    isolated = "getComputedStyle(document.querySelector('.message')).unicodeBidi"
    assert page.evaluate(isolated) in ("isolate", "plaintext")
    assert page.evaluate("document.querySelectorAll('.message').length") > 0


def test_comparison_opens_clean(made: ModuleType, open_page: Callable[..., Any]) -> None:
    """The page of two runs draws its three charts without an error, fits a phone, and shows hostile names as text."""
    evil = "</script><img src=x onerror='window.hacked=1'>"
    runs = [Run(name, made.recipe(), made.CONTEXT, {}) for name in ("before", evil)]
    page = open_page(compared_html(compare(*runs), runs), width=390)
    assert page.seen("Runtime.exceptionThrown") == []
    assert page.evaluate("document.querySelectorAll('canvas').length") == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate("window.hacked") is None
