from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from lrtune.reports.html import render, script_json
from lrtune.results import StepResult

if TYPE_CHECKING:
    from types import ModuleType

EVIL = "</script><script>alert(1)</script><!--<img src=x onerror=alert(2)>\u2028&\"'"


class Tags(HTMLParser):
    """The start tags of a document, each with its attributes, and the text outside of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep the tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Keep the text."""
        if self.tags and self.tags[-1][0] not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def page(made: ModuleType) -> str:
    """The page of a whole run."""
    return render(made.recipe(), "digits", made.CONTEXT)


def test_nothing_is_loaded(page: str) -> None:
    """Links stay within the page, and its policy forbids loading anything."""
    tags = Tags(page).tags
    targets = [attrs[key] for _, attrs in tags for key in ("src", "href") if key in attrs]
    assert all(str(target).startswith(("#", "data:")) for target in targets)
    (policy,) = [attrs["content"] for tag, attrs in tags if tag == "meta" and "http-equiv" in attrs]
    assert str(policy).startswith("default-src 'none'; script-src 'sha256-")


def test_size(page: str) -> None:
    """The page without its data is well under two megabytes."""
    data = re.search(r'<script type="application/json" id="specs">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert len(page) - len(data[1]) < 1_300_000
    assert len(page) < 3_000_000


def test_same_input_same_page(made: ModuleType) -> None:
    """The page depends on its input alone."""
    results = {"coarse-grid": made.grid()}
    assert render(results, "t", made.CONTEXT) == render(results, "t", made.CONTEXT)


def test_answer_is_on_top(page: str) -> None:
    """Settings, what they reach, the verdict and the lines to copy are there as text."""
    text = Tags(page).text
    for part in (
        "Learning rate 0.0677, weight decay 2.09e-4, SGD (momentum 0.9)",
        "Validation loss 0.1504",
        "Nothing failed; 2 warnings",
        "torch.optim.SGD(model.parameters(), lr=0.06769",
        "learning_rate: 0.06769",
    ):
        assert part in text


def test_charts_are_labelled(page: str) -> None:
    """Every chart has a caption and a description that a screen reader says."""
    specs = json.loads(str(re.search(r'id="specs">(.*?)</script>', page, re.DOTALL)[1]))  # type: ignore[index]
    assert len(specs) == 11
    assert all(spec["description"] and "title" not in spec for spec in specs.values())
    assert sum(tag == "figcaption" for tag, _ in Tags(page).tags) == 11


def test_hostile_strings(made: ModuleType) -> None:
    """Strings of the user are text wherever they appear, in markup and within the charts' data."""
    results = made.recipe()
    grid = results["coarse-grid"]
    for key in ("curve", "state"):
        grid.summary["trials"][0][key] = EVIL
    grid.summary["trials"][0]["metrics"] = {EVIL: 1.0}
    grid.findings.append(made.finding(EVIL, "error", message=EVIL, fix=EVIL, source=EVIL, measured=EVIL))
    results["check-init"].details["expectation"] = EVIL
    context = dict.fromkeys(("version", "command", "device", "created", "config_yaml", "task"), EVIL)
    context |= {"optimizer": {"name": EVIL, EVIL: EVIL}, "stale": [EVIL]}
    clean = Tags(render(made.recipe(), "t", made.CONTEXT))
    parsed = Tags(render(results, EVIL, context))
    assert "img" not in [tag for tag, _ in parsed.tags]
    assert sum(tag == "script" for tag, _ in parsed.tags) == sum(tag == "script" for tag, _ in clean.tags)
    assert "<img src=x onerror=alert(2)>" in parsed.text
    assert not [key for _, attrs in parsed.tags for key in attrs if key.startswith("on")]


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "\u2028", "&lt;"])
def test_script_json(text: str) -> None:
    """JSON within a script holds no character that could end it, and reads back the same."""
    written = script_json({"a": text})
    assert not set(written) & set("<>&\u2028\u2029")
    assert json.loads(written) == {"a": text}


def test_script_json_not_finite() -> None:
    """What is not finite is null: `NaN` is no JSON."""
    assert script_json([float("nan"), float("inf")]) == "[null,null]"


ODD = {
    "nothing": lambda made: {},
    "empty-steps": lambda made: {step: StepResult(step) for step in made.recipe()},
    "lone-trial": lambda made: {"coarse-grid": made.lone_trial()},
    "all-diverged": lambda made: {
        "coarse-grid": made.all_diverged(),
        "refine-grid": made.all_diverged("refine-grid"),
    },
    "no-validation": lambda made: {
        "coarse-grid": made.grid(val=False),
        "refine-grid": made.grid("refine-grid", val=False),
    },
    "no-best": lambda made: {"report": made.report(None)},
    "none-values": lambda made: {
        "check-init": StepResult(
            "check-init", summary=dict.fromkeys(made.check_init().summary), details={"batch_losses": [None]}
        ),
        "find-lr": StepResult("find-lr", summary={"suggestion": None, "low": None}),
    },
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_odd_results_render(made: ModuleType, make: Any) -> None:
    """However little there is, the page tells of all six steps."""
    tags = Tags(render(make(made), "odd", {})).tags
    assert sum(tag == "section" and attrs.get("class") == "step" for tag, attrs in tags) == 6


def test_failure_is_told_first(made: ModuleType) -> None:
    """A failed check stands before the steps, with its cause and its fix."""
    text = Tags(render({"coarse-grid": made.all_diverged()}, "t", {})).text
    top = text[: text.index("Loss at initialisation", text.index("What is wrong") + 1)]
    assert "All 4 trials diverged." in top
    assert "Lower the learning rates." in top


def test_sweep_tables_are_folded(page: str) -> None:
    """The probes and the rules of other tools are tables under a heading that unfolds them, and no trials."""
    section = page[page.index('id="find-lr"') : page.index('id="coarse-grid"')]
    assert section.count('<details class="aside">') == 3
    assert "<td><bdi>0.011</bdi></td><td><bdi>0.22</bdi></td>" in section
    assert "data-trial" not in section


@pytest.mark.parametrize("step", ["check-init", "overfit", "find-lr", "coarse-grid", "refine-grid", "report"])
def test_every_chart_has_a_table(page: str, step: str) -> None:
    """In each section that has charts there is a table with the numbers behind them, headed by columns."""
    section = page[page.index(f'<section class="step" id="{step}"') :]
    section = section[: section.index("</section>")]
    assert "<figure" in section
    assert '<th scope="col">' in section


def test_headings_are_in_order(page: str) -> None:
    """One h1, then h2 alone: no level is skipped; every region that scrolls can be reached and has a name."""
    tags = Tags(page).tags
    levels = [tag for tag, _ in tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == "h1"
    assert set(levels[1:]) == {"h2"}
    reached = [attrs for _, attrs in tags if attrs.get("tabindex") == "0"]
    assert reached
    assert all(attrs.get("role") == "region" and attrs.get("aria-label") for attrs in reached)


def test_how_it_was_obtained(made: ModuleType) -> None:
    """The page says versions, machine, device and seed, and of each step its command, time and gradient steps."""
    results = made.recipe()
    how = {"versions": {"lrtune": "0.1.0", "torch": "2.13.0"}, "machine": "Linux", "command": "lrtune grid"}
    for result in results.values():
        result.details["environment"] = how
    page = render(results, "t", made.CONTEXT)
    part = page[page.index('id="obtained"') :]
    for said in ("lrtune 0.1.0, torch 2.13.0", "cpu (AMD EPYC)", "lrtune grid", "39,000"):
        assert said in part


def crowd(made: ModuleType, count: int, steps: int) -> StepResult:
    """Return a refined search of many trials, each with one loss of 40 at a step of its own."""
    curves, trials = {}, []
    for number in range(count):
        name, rate = f"refine-{number:03d}", 0.01 * 1.01**number
        curves[name] = made.curve(0.05, number, steps, 2)
        curves[name].loss[steps // 2 + number] = 40.0
        trials.append(made.trial(name, rate, 1e-4, curves[name]))
    return StepResult("refine-grid", [], {"best": trials[0], "trials": trials}, curves=curves)


def test_a_crowd_stays_small(made: ModuleType) -> None:
    """Of 200 trials 30 are drawn at once; each of the others is there to be called, with its one-step spike."""
    page = render({"refine-grid": crowd(made, 200, 3000)}, "t", made.CONTEXT)
    specs = json.loads(str(re.search(r'id="specs">(.*?)</script>', page, re.DOTALL)[1]))  # type: ignore[index]
    later = json.loads(str(re.search(r'id="later">(.*?)</script>', page, re.DOTALL)[1]))  # type: ignore[index]
    layers = specs["refine-grid-loss-curves"]["layer"]
    rows = next(layer["data"]["values"] for layer in layers if layer["data"].get("name") == "point")
    drawn = {row["curve"] for row in rows}
    others = later["refine-grid-loss-curves"]
    assert (len(drawn), len(others)) == (30, 170)
    assert not drawn & set(others)
    assert {row["curve"] for row in rows if row["loss"] == 40.0} == drawn
    assert all(40.0 in parts["point"]["loss"] for parts in others.values())
    assert len(page.encode()) < 2_000_000


def test_captions_are_text(page: str) -> None:
    """A chart's subtitle is one sentence below it, however many lines the picture has for it."""
    assert "points: loss on the training subset after 100 steps at one rate; ×\u00a0diverged</bdi>" in page
