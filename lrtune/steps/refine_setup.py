"""Where a refined search starts from, and in which round it is: the same for all who work on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.steps.loss_curves import loss_curves
from lrtune.steps.rounds import Round, advice, next_round, rounds_from
from lrtune.study.agreement import agree
from lrtune.study.space import Space

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.results import StepResult
    from lrtune.steps.cells import Combination
    from lrtune.steps.context import Context
    from lrtune.study.queue import TrialQueue

_CELLS = 3  # of the coarse grid, the best ones, that open the search
# In what a study is of, what the study's own word counts for: it grows from round to round.
GROWS = ("trials", "rounds")


def starting_point(context: Context, coarse: StepResult, combination: Combination) -> dict[str, Any]:
    """Return where the search starts from, as plain values."""
    axes = dict(combination)
    trials = [one for one in coarse.summary["trials"] if axes.items() <= one.items()]
    best = [one for one in trials if one["state"] == "complete"][:_CELLS]
    decays = [float(one["weight_decay"]) for one in trials] if context.program.decays else [0.0]
    space = Space.around(best, [float(one["lr"]) for one in trials], decays)
    return {
        "space": space.to_dict(),
        "cells": [[float(one["lr"]), float(one["weight_decay"])] for one in best],
        "trials": context.config.refine.trials,
        "combination": [list(pair) for pair in combination],
        "rounds": [],
    }


def round_of(found: Mapping[str, Any]) -> Round:
    """Return the round that a search is in; more trials in the settings than it has are its own from now on."""
    rounds = rounds_from(found["rounds"])
    last = rounds[-1] if rounds else Round(0, found["space"])
    return Round(max(last.trials, int(found["trials"])), last.space, last.moved)


def further(
    context: Context, coarse: StepResult, more: int, found: Mapping[str, Any], done: StepResult | None
) -> dict[str, Any]:
    """Return a further round, and say what it moves."""
    results = {"coarse-grid": coarse} | ({"refine-grid": done} if done else {})
    findings = loss_curves(results).findings if done else []
    best = done.summary["best"] if done else None
    before = round_of(found)
    after = next_round(before, more, best, findings)
    note = context.progress.note
    note(f"refine-grid: {more} more trials, {after.trials} in all")
    for why in after.moved or ("nothing that the report found asks for other ranges: they stay",):
        note(f"refine-grid: {why}")
    for why in advice(findings, context.config.refine.epochs):
        note(f"refine-grid: {why}")
    return after.to_dict()


def combination_of(queue: TrialQueue) -> Combination:
    """Return the values of further axes that a refined search's study was made with."""
    return tuple((str(name), value) for name, value in (queue.setup or {}).get("combination", []))


def agreed(queue: TrialQueue, setup: dict[str, Any]) -> dict[str, Any]:
    """Return what the study is of; more trials than there were are the study's from now on."""
    found = {"rounds": [], **agree(queue, setup, GROWS)}
    if setup["trials"] > found["trials"]:
        found = {**found, "trials": setup["trials"]}
        queue.set_up(found)
    return found
