from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lrtune
from lrtune import Finding, StepResult
from lrtune.results import SCHEMA, STEPS, jsonable

NAN, INF = math.nan, math.inf


def finding(severity: Any, measured: Any = 4.2) -> Finding:
    """Return a finding of a severity."""
    return Finding("noisy-suggestion", severity, "It is noisy.", measured, "<= 3", "Repeat it.", "Smith 2017")


@pytest.mark.parametrize(
    ("severities", "verdict"),
    [
        pytest.param([], "pass", id="nothing found"),
        pytest.param(["info"], "pass", id="info"),
        pytest.param(["info", "warning"], "warn", id="warning"),
        pytest.param(["error"], "fail", id="error"),
        pytest.param(["error", "warning", "info"], "fail", id="error first"),
        pytest.param(["info", "warning", "error"], "fail", id="error last"),
    ],
)
def test_the_worst_finding_makes_the_verdict(severities: list[str], verdict: str) -> None:
    """An error fails, a warning warns, an info passes; the order does not matter."""
    assert StepResult("overfit", [finding(one) for one in severities]).verdict == verdict


def test_the_json_object() -> None:
    """`to_dict` is the object that the design prints, its keys in that order."""
    result = StepResult(
        "find-lr", [finding("warning")], {"suggestion": 0.03, "diverged_at": None}, 3.14159, run_dir="out"
    )
    assert json.dumps(result.to_dict()) == json.dumps(
        {
            "schema": SCHEMA,
            "lrtune": lrtune.__version__,
            "step": "find-lr",
            "verdict": "warn",
            "seconds": 3.142,
            "run_dir": "out",
            "findings": [
                {
                    "code": "noisy-suggestion",
                    "severity": "warning",
                    "message": "It is noisy.",
                    "measured": 4.2,
                    "expected": "<= 3",
                    "fix": "Repeat it.",
                    "source": "Smith 2017",
                }
            ],
            "summary": {"suggestion": 0.03, "diverged_at": None},
        }
    )


def test_a_run_holds_its_steps_and_the_worst_verdict() -> None:
    """A run's object has one object a step; a step's has no `steps`."""
    steps = [StepResult("check-init"), StepResult("overfit", [finding("error")])]
    run = StepResult("run", [one for step in steps for one in step.findings], steps=steps).to_dict()
    assert run["verdict"] == "fail"
    assert [step["verdict"] for step in run["steps"]] == ["pass", "fail"]
    assert all("steps" not in step for step in run["steps"])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(NAN, None, id="nan"),
        pytest.param(INF, None, id="inf"),
        pytest.param([1.5, -INF, {"a": NAN}], [1.5, None, {"a": None}], id="nested"),
        pytest.param((1, 2), [1, 2], id="tuple"),
        pytest.param({3: 4}, {"3": 4}, id="number for a key"),
        pytest.param(True, True, id="bool"),
        pytest.param(None, None, id="none"),
        pytest.param(2**70, 2**70, id="large int"),
        pytest.param(np.float64(NAN), None, id="numpy nan"),
        pytest.param(np.float32(0.5), 0.5, id="numpy float"),
        pytest.param(np.int64(3), 3, id="numpy int"),
        pytest.param(np.bool_(True), True, id="numpy bool"),
        pytest.param(np.array([[1.0, INF]]), [[1.0, None]], id="array"),
        pytest.param(torch.tensor(NAN), None, id="tensor without dimension"),
        pytest.param(torch.tensor([1.0, NAN]), [1.0, None], id="tensor"),
        pytest.param(torch.tensor([1.0], requires_grad=True), [1.0], id="tensor with a graph"),
        pytest.param(Path("a") / "b", "a/b", id="path"),
    ],
)
def test_any_value_as_strict_json(value: Any, expected: Any) -> None:
    """Containers, arrays and tensors become JSON's own types, what is not finite becomes null."""
    assert jsonable(value) == expected
    assert type(jsonable(value)) is type(expected)
    json.dumps(jsonable(value), allow_nan=False)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_no_nan_reaches_the_output(value: float) -> None:
    """Neither a measured value nor a summary that is not finite makes invalid JSON."""
    result = StepResult("find-lr", [finding("error", value)], {"trials": [{"val_loss": value}]})
    found = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert found["findings"][0]["measured"] is None
    assert found["summary"] == {"trials": [{"val_loss": None}]}


def test_stored_in_says_where_and_changes_nothing_else() -> None:
    """The original result does not learn the directory."""
    result = StepResult("overfit", summary={"steps": 3})
    stored = result.stored_in("out")
    assert (result.run_dir, stored.run_dir, stored.summary) == (None, "out", {"steps": 3})


def test_the_six_steps() -> None:
    """The recipe's order, by the names that JSON uses."""
    assert STEPS == ("check-init", "overfit", "find-lr", "coarse-grid", "refine-grid", "report")


def test_print_tells_the_findings() -> None:
    """`str` adds each finding with its fix to the one line of `repr`; a symptom stands beneath its cause."""
    hence = dataclasses.replace(finding("error"), follows_from="noisy-suggestion")
    result = StepResult("find-lr", [finding("warning"), hence])
    assert str(result).splitlines() == [
        repr(result),
        "  warning noisy-suggestion: It is noisy.",
        "    Fix: Repeat it.",
        "    hence error noisy-suggestion: It is noisy.",
    ]
    assert "\n" not in repr(result)
