from __future__ import annotations

from typing import Any

import pytest

from lrtune.charts.probed import Probe, probes_of, rules_of
from lrtune.results import StepResult

OLD: dict[str, dict[str, Any]] = {
    "nothing": {},
    "null": {"probes": None, "rules": None},
    "empty": {"probes": {}, "rules": {}},
    "no rates": {"probes": {"steps": 100, "rates": None}},
}


@pytest.mark.parametrize("details", OLD.values(), ids=OLD)
def test_older_results(details: dict[str, Any]) -> None:
    """A result that has neither holds none of them."""
    result = StepResult("find-lr", details=details)
    assert probes_of(result).rates == []
    assert rules_of(result) == []


def test_probes() -> None:
    """They come in ascending order; the loss of a diverged one, and a rate that is none, are left out."""
    rows = [
        {"learning_rate": 0.5, "loss": float("nan"), "steps": 7},
        {"learning_rate": 0.1, "loss": 1.5, "steps": 100, "state": "complete"},
        {"learning_rate": None, "loss": 1.0},
        {"learning_rate": 0.3, "loss": 9e9, "steps": 50, "state": "diverged"},
    ]
    found = probes_of(StepResult("find-lr", details={"probes": {"rates": rows, "initial_loss": 2.5}}))
    assert found.rates == [
        Probe(0.1, 1.5, 100, "complete"),
        Probe(0.3, None, 50, "diverged"),
        Probe(0.5, None, 7, "diverged"),
    ]
    assert found.initial_loss == 2.5
    assert found.words == "loss on the training subset after some steps at one rate"


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("training subset", "loss on the training subset after 100 steps at one rate"),
        ("validation data", "loss on validation data after 100 steps at one rate"),
    ],
)
def test_words(split: str, words: str) -> None:
    """What a loss is, is said in words that read well."""
    details = {"probes": {"steps": 100, "split": split, "rates": []}}
    assert probes_of(StepResult("find-lr", details=details)).words == words


@pytest.mark.parametrize(("suggestion", "ratio"), [(0.05, 0.4), (None, None), (0.0, None)])
def test_rules(suggestion: float | None, ratio: float | None) -> None:
    """A rule's ratio is its rate over the suggestion, None where either is missing."""
    result = StepResult(
        "find-lr", summary={"suggestion": suggestion}, details={"rules": {"a": 0.02, "b": None}}
    )
    first, second = rules_of(result)
    assert (first.name, first.learning_rate, second.learning_rate) == ("a", 0.02, None)
    assert first.ratio == pytest.approx(ratio)
    assert second.ratio is None
