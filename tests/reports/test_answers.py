from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lrtune.checks.catalogue import finding
from lrtune.reports.answers import answer
from lrtune.results import STEPS, StepResult

BEST = {"lr": 0.07, "weight_decay": 1e-4, "val_loss": 0.0912, "train_loss": 0.05}
RATE = {"suggestion": 0.0704, "low": 0.022, "high": 0.2, "confidence": "high"}
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "initial loss": (
        "check-init",
        {"initial_loss": 2.31085, "expected_low": 2.30049, "accepted_low": 2.0631, "accepted_high": 3.323},
        "initial loss 2.311, accepted from 2.063 up to 3.323",
    ),
    "no expectation": ("check-init", {"initial_loss": 2.0, "expected_low": None}, "initial loss 2"),
    "no loss": ("check-init", {"initial_loss": None}, ""),
    "accuracy": (
        "overfit",
        {"loss_last": 0.0186, "accuracy": 1.0, "steps": 50},
        "loss 0.0186, accuracy 100.0% after 50 steps",
    ),
    "no accuracy": ("overfit", {"loss_last": 0.2, "accuracy": None, "steps": 5}, "loss 0.2 after 5 steps"),
    "rate": ("find-lr", RATE, "learning rate 0.07 (0.022 to 0.2), confidence high"),
    "no rate": ("find-lr", {"suggestion": None}, ""),
    "grid": (
        "coarse-grid",
        {"best": BEST, "trials": []},
        "learning rate 0.07, weight decay 0.0001: validation loss 0.0912",
    ),
    "further axes": (
        "refine-grid",
        {"best": BEST | {"hidden": 64, "curve": "refine-000", "state": "complete"}},
        "learning rate 0.07, weight decay 0.0001, hidden 64: validation loss 0.0912",
    ),
    "no validation": (
        "refine-grid",
        {"best": BEST | {"val_loss": None}},
        "learning rate 0.07, weight decay 0.0001: training loss 0.05",
    ),
    "no best": ("report", {"best": None}, ""),
    "check": ("check", {"skipped": []}, ""),
}


@pytest.mark.parametrize(("step", "summary", "expected"), CASES.values(), ids=CASES)
def test_what_was_found(step: str, summary: dict[str, Any], expected: str) -> None:
    """A step that has not failed says its numbers in a line."""
    assert answer(StepResult(step, [], summary)) == expected


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_names_its_errors(step: str) -> None:
    """Whatever the step, the codes of the causes stand in place of numbers; warnings do not."""
    symptom = replace(finding("cannot-overfit", "No."), follows_from="double-softmax")
    findings = [finding("dead-units", "Off."), finding("double-softmax", "Twice."), symptom]
    assert answer(StepResult(step, findings, {})) == "double-softmax"
