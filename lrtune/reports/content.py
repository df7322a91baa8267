"""What the page and the Markdown text both say, before either sets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtune.charts import with_best_curve
from lrtune.charts.numbers import finite, number
from lrtune.charts.trials import COMPLETE
from lrtune.reports.asides import Aside, asides
from lrtune.reports.obtained import obtained_facts, obtained_table
from lrtune.reports.settings import (
    axis_places,
    optimizer_of,
    optimizer_words,
    other_axes,
    suggested_words,
    trained_with,
)
from lrtune.reports.tables import Table, facts, table
from lrtune.results import STEPS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lrtune.results import Finding, StepResult

TITLES = {
    "check-init": "Loss at initialisation",
    "overfit": "Overfit a few batches",
    "find-lr": "Learning rate sweep",
    "coarse-grid": "Coarse grid",
    "refine-grid": "Refined search",
    "report": "Loss curves",
}
QUESTIONS = {
    "check-init": "Is the loss before training what an untrained model should have?",
    "overfit": "Can the model learn a handful of batches by heart?",
    "find-lr": "Which learning rates make the loss fall?",
    "coarse-grid": "Which learning rate and weight decay, roughly?",
    "refine-grid": "Which exactly, with longer training?",
    "report": "How did the best training go?",
}
VERDICT_WORDS = {"pass": "passed", "warn": "warnings", "fail": "failed", "none": "not run"}


@dataclass(frozen=True)
class Section:
    """One step of the recipe, run or not."""

    step: str
    number: int
    result: StepResult | None
    stale: bool

    @property
    def title(self) -> str:
        """The step's name for people."""
        return TITLES[self.step]

    @property
    def question(self) -> str:
        """What the step answers."""
        return QUESTIONS[self.step]

    @property
    def verdict(self) -> str:
        """`pass`, `warn`, `fail`, or `none` when it was not run."""
        return self.result.verdict if self.result else "none"

    @property
    def word(self) -> str:
        """The verdict in words."""
        return VERDICT_WORDS[self.verdict]

    @property
    def findings(self) -> list[Finding]:
        """What was seen."""
        return self.result.findings if self.result else []

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Its single numbers."""
        return facts(self.result) if self.result else []

    @property
    def table(self) -> Table:
        """Its trials."""
        return table(self.result) if self.result else Table()

    @property
    def asides(self) -> list[Aside]:
        """Its further tables."""
        return asides(self.result) if self.result else []


@dataclass(frozen=True)
class Content:
    """Everything a report says.

    Attributes:
        sections: All six steps, in order.
        best: The best trial, None if nothing was trained to an end.
        places: Where in the configuration the values of the grid's further axes stand, by name.
        settings: First line of the answer: the settings found.
        reaches: Second line: what they reach.
        state: Third line: whether anything is wrong.
        verdict: The worst verdict of all steps.
        problems: The errors, or what they follow from, each with its section.
        costs: What each step took, by which command.
        obtained: What holds for all steps: task, device, seed, versions.
    """

    sections: list[Section]
    best: dict[str, Any] | None
    places: dict[str, str]
    settings: str
    reaches: str
    state: str
    verdict: str
    problems: list[tuple[Section, Finding]]
    costs: Table
    obtained: list[tuple[str, str]]


def content(results: Mapping[str, StepResult], context: Mapping[str, Any]) -> Content:
    """Put together what there is to say; whatever is missing is said to be so."""
    known = in_order(by_step(results))
    stale = set(context.get("stale") or ())
    sections = [Section(step, i, known.get(step), step in stale) for i, step in enumerate(STEPS, start=1)]
    best = best_trial(known)
    problems = [(section, found) for section in sections for found in causes(section.findings)]
    verdicts = {section.verdict for section in sections}
    return Content(
        sections=sections,
        best=best,
        places=axis_places(known),
        settings=_settings(best, known, optimizer_of(context)),
        reaches=_reaches(best),
        state=_state(sections),
        verdict=next((verdict for verdict in ("fail", "warn", "pass") if verdict in verdicts), "none"),
        problems=problems,
        costs=obtained_table(known),
        obtained=obtained_facts(known, context),
    )


def causes(findings: Sequence[Finding]) -> list[Finding]:
    """Return the errors, and in place of those that follow from another finding that one, whatever its severity."""
    behind = {found.follows_from for found in findings if found.severity == "error"}
    return [f for f in findings if not f.follows_from and (f.severity == "error" or f.code in behind)]


def by_step(results: Mapping[str, StepResult]) -> dict[str, StepResult]:
    """Return the results by step, those of a whole run among them."""
    flat = [step for result in results.values() for step in (result.steps or [result])]
    return {result.step: result for result in flat if result.step in STEPS}


def in_order(results: Mapping[str, StepResult]) -> dict[str, StepResult]:
    """Return the results in the recipe's order, that of the report with the curve of the trial that it calls best."""
    ordered = {step: results[step] for step in STEPS if step in results}
    return {step: with_best_curve(result, ordered.values()) for step, result in ordered.items()}


def best_trial(results: Mapping[str, StepResult]) -> dict[str, Any] | None:
    """Return the trial that the report calls the best, else the better one of the two grids' best."""
    bests = {step: dict(best) for step, result in results.items() if (best := result.summary.get("best"))}
    trained = [bests[step] for step in ("refine-grid", "coarse-grid") if step in bests]
    return bests.get("report") or min(trained, key=_loss, default=None)


def _loss(trial: Mapping[str, Any]) -> float:
    values = (finite(trial.get(key)) for key in ("val_loss", "train_loss"))
    return next((value for value in values if value is not None), float("inf"))


def _settings(
    best: Mapping[str, Any] | None, results: Mapping[str, StepResult], optimizer: Mapping[str, Any]
) -> str:
    if not best:
        sweep = results.get("find-lr")
        return suggested_words(sweep.summary.get("suggestion") if sweep else None)
    places = axis_places(results)
    others = other_axes(optimizer, best, places)
    named = {**others.pop("args", {}), **others}
    words = [
        f"learning rate {number(best.get('lr'))}",
        f"weight decay {number(best.get('weight_decay'))}",
        optimizer_words(trained_with(optimizer, best, places)),
        *(f"{name.replace('_', ' ')} {number(value)}" for name, value in named.items()),
    ]
    return ", ".join(filter(None, words))


def _reaches(best: Mapping[str, Any] | None) -> str:
    if not best or best.get("state", COMPLETE) != COMPLETE:
        return "nothing yet: no trial was trained to its end"
    parts = [
        f"{name} {number(best[key], 4)}"
        for key, name in (("val_loss", "validation loss"), ("train_loss", "training loss"))
        if finite(best.get(key)) is not None
    ]
    parts += [f"{name} {number(value, 4)}" for name, value in (best.get("metrics") or {}).items()]
    steps = f"after {number(best['steps'])} steps" if best.get("steps") else ""
    return " ".join(filter(None, [", ".join(parts) or "no loss was measured", steps]))


def _state(sections: Iterable[Section]) -> str:
    by_word: dict[str, list[Section]] = {}
    for section in sections:
        by_word.setdefault(section.verdict, []).append(section)

    def listed(verdict: str) -> str:
        return ", ".join(section.title for section in by_word.get(verdict, []))

    parts = []
    if "fail" in by_word:
        parts.append(f"failed: {listed('fail')}")
    warnings = [f for s in by_word.get("warn", []) for f in s.findings if f.severity == "warning"]
    if warnings:
        count = f"{len(warnings)} warning" + ("s" if len(warnings) > 1 else "")
        parts.append(
            f"{count}: {listed('warn')}"
            if "fail" in by_word
            else f"nothing failed; {count}: {listed('warn')}"
        )
    if not parts:
        parts.append("no problem was found" if "pass" in by_word else "nothing was run")
    if "none" in by_word and ("pass" in by_word or "warn" in by_word or "fail" in by_word):
        parts.append(f"not run: {listed('none')}")
    return "; ".join(parts)
