from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from lrtune.reports.compare import Comparison, Run, compare
from lrtune.reports.compare_forms import compared_html, compared_markdown
from lrtune.reports.html import breakable
from lrtune.results import Finding, StepResult

if TYPE_CHECKING:
    from types import ModuleType


def finding(code: str, message: str = "It is so.") -> Finding:
    """Return a warning."""
    return Finding(code, "warning", message, None, None, "Mend it.", "")


def run(name: str, momentum: float, suggestion: float, *findings: Finding, **parts: Any) -> Run:
    """Return a run that has found a rate."""
    summary = {"suggestion": suggestion, "confidence": "high"}
    origin = {"optimizer": {"name": "sgd", "momentum": momentum}, "source": "abcdef", **parts}
    return Run(name, {"find-lr": StepResult("find-lr", list(findings), summary)}, {}, {"find-lr": origin})


def changes(found: Comparison) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ."""
    return {change.name: (change.a, change.b) for change in found.settings}


def test_settings_that_differ() -> None:
    """Settings are told by their dotted names, those alone that differ; a digest only as that."""
    found = compare(run("a", 0.9, 0.1), run("b", 0.8, 0.1, source="fedcba"))
    assert changes(found) == {"optimizer.momentum": (0.9, 0.8), "the task's source": ("abcdef", "fedcba")}


def test_the_fingerprint_of_an_input_is_no_setting() -> None:
    """That a step's input has changed is told by that step, not as a setting."""
    one, two = run("a", 0.9, 0.1), run("b", 0.9, 0.1)
    two.made_from["find-lr"]["check-init"] = "0123"  # type: ignore[index]
    assert compare(one, two).settings == []


def test_findings_appear_vanish_and_stay() -> None:
    """Each finding is told once; the news come first."""
    one = run("a", 0.9, 0.1, finding("noisy-suggestion", "old"), finding("never-diverged"))
    two = run("b", 0.9, 0.1, finding("noisy-suggestion", "new"), finding("best-at-range-edge"))
    found = [(one.code, one.state) for one in compare(one, two).findings]
    assert found == [
        ("best-at-range-edge", "appeared"),
        ("never-diverged", "vanished"),
        ("noisy-suggestion", "stayed"),
    ]
    (stayed,) = [change for change in compare(one, two).findings if change.state == "stayed"]
    assert (stayed.a, stayed.b) == ("old", "new")


def test_numbers_that_differ() -> None:
    """Of a step that both have run, the numbers that differ are told with both values."""
    found = compare(run("a", 0.9, 0.1), run("b", 0.9, 0.2))
    assert [(step, change.name, change.a, change.b) for step, change in found.numbers] == [
        ("find-lr", "suggestion", 0.1, 0.2)
    ]


def test_what_has_parts_is_told_by_its_parts(made: ModuleType) -> None:
    """The repeats over seeds of two searches are numbers in a table, not a text of Python's."""

    def searched(mean: float) -> Run:
        summary = {"repeats": {"seeds": [1, 2], "refined": {"mean": mean, "spread": 0.25}}}
        return Run("a", {"refine-grid": StepResult("refine-grid", summary=summary)}, made.CONTEXT, {})

    found = compare(searched(0.5), searched(0.75))
    assert [(change.name, *change.texts) for _, change in found.numbers] == [
        ("repeats.refined.mean", "0.5", "0.75")
    ]


def test_names_break_at_their_marks() -> None:
    """On a narrow page names break after a point or an underscore, numbers and markup stay as they are."""
    assert breakable("coarse.weight_decay") == "coarse.<wbr>weight_<wbr>decay"
    assert breakable("../a.py:make") == "../<wbr>a.<wbr>py:<wbr>make"
    assert breakable("0.0351 <b> at 1e-3") == "0.0351 &lt;b&gt; at 1e-3"


def test_a_step_of_one_run_alone() -> None:
    """A step that only one of them has run is told as not run in the other, and has no numbers to compare."""
    found = compare(run("a", 0.9, 0.1), Run("b", {}, {}, {}))
    assert found.numbers == []
    assert [(one.a, one.b) for one in found.verdicts if one.name == "find-lr"] == [("pass", None)]


def test_the_same_run_twice(made: ModuleType) -> None:
    """A run against itself has nothing changed and all findings stayed."""
    one = Run("a", made.recipe(), made.CONTEXT, {"find-lr": {"seed": 0}})
    found = compare(one, one)
    assert (found.settings, found.numbers, found.news) == ([], [], [])
    assert {change.state for change in found.findings} == {"stayed"}
    assert found.best[0] == found.best[1] == made.recipe()["report"].summary["best"]


def test_one_strict_json_object() -> None:
    """The object is plain JSON, without NaN."""
    found = compare(run("a", 0.9, float("nan")), run("b", 0.8, 0.2)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["step"] == "compare"
    assert found["numbers"] == [{"step": "find-lr", "name": "suggestion", "a": None, "b": 0.2}]


def test_the_object_has_the_keys_of_every_result() -> None:
    """Who reads results reads it too: nothing of its own is found, and what the runs found is counted and listed."""
    one, two = run("a", 0.9, 0.1, finding("no-descent", "Flat.")), run("b", 0.9, 0.1)
    found = compare(one, two).to_dict(1.23456)
    usual = StepResult("find-lr", seconds=1.23456).to_dict()
    assert list(found)[: len(usual)] == list(usual)
    assert {key: type(found[key]) for key in usual} == {key: type(value) for key, value in usual.items()}
    assert (found["verdict"], found["seconds"], found["findings"]) == ("pass", 1.235, [])
    assert found["summary"] == {"appeared": 0, "vanished": 1, "stayed": 0}
    assert [(change["code"], change["state"]) for change in found["compared"]] == [("no-descent", "vanished")]


def test_markdown_escapes() -> None:
    """Names and messages of the user are text in every cell."""
    evil = "a|b <i>"
    text = compared_markdown(compare(run(evil, 0.9, 0.1), run("b", 0.8, 0.1, finding("x", evil))))
    assert text.startswith("# a\\|b &lt;i&gt; against b")
    assert "<i>" not in text
    assert "| appeared | x | find-lr | a\\|b &lt;i&gt; |" in text


def test_page_holds_both_curves(made: ModuleType) -> None:
    """The page's charts have the rows of both runs, and a table of numbers beside each."""
    runs = [Run(name, made.recipe(), made.CONTEXT, {}) for name in ("one", "two")]
    page = compared_html(compare(*runs), runs)
    assert '"run":"one"' in page
    assert '"run":"two"' in page
    assert page.count("<figure") == page.count("Numbers of this chart") > 0
