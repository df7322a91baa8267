from __future__ import annotations

from typing import Any

import pytest
import yaml

from lrtune.reports.settings import (
    axis_places,
    exact,
    optimizer_of,
    optimizer_words,
    torch_line,
    yaml_lines,
)
from lrtune.results import StepResult

TRIAL = {"lr": 0.0320491, "weight_decay": 1e-5}


@pytest.mark.parametrize("value", [0.05, 1e-5, 0.0, 2.0876e-4, 12.0, 1e-12, 3e7], ids=str)
def test_exact_reads_back(value: float) -> None:
    """A copied number is a number in YAML 1.1 and in Python, to four digits."""
    assert yaml.safe_load(exact(value)) == pytest.approx(value, rel=1e-3)
    assert isinstance(yaml.safe_load(exact(value)), int | float)
    assert float(exact(value)) == pytest.approx(value, rel=1e-3)


OPTIMIZERS: dict[str, tuple[dict[str, Any], str]] = {
    "sgd": (
        {"name": "sgd", "momentum": 0.9},
        "torch.optim.SGD(model.parameters(), lr=0.03205, weight_decay=1.0e-05, momentum=0.9)",
    ),
    "adamw": (
        {"name": "adamw", "betas": [0.9, 0.95]},
        "torch.optim.AdamW(model.parameters(), lr=0.03205, weight_decay=1.0e-05, betas=[0.9, 0.95])",
    ),
    "unknown": ({"name": "Lion"}, "torch.optim.Lion(model.parameters(), lr=0.03205, weight_decay=1.0e-05)"),
    "own": ({"name": "mine.py:build"}, "build(model, 0.03205, 1.0e-05)"),
    "own class": (
        {"name": "mine.py:Lion", "beta": 0.9},
        "Lion(model.parameters(), lr=0.03205, weight_decay=1.0e-05, beta=0.9)",
    ),
    "own with keywords": (
        {"name": "mine.py:build", "beta": 0.9},
        "build(model, 0.03205, 1.0e-05, beta=0.9)",
    ),
    "absent": ({}, "torch.optim.SGD(model.parameters(), lr=0.03205, weight_decay=1.0e-05)"),
}


@pytest.mark.parametrize(("optimizer", "line"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_torch_line(optimizer: dict[str, Any], line: str) -> None:
    """The line of PyTorch names the class as torch does and is valid Python."""
    assert torch_line(TRIAL, optimizer, {}) == f"optimizer = {line}"
    compile(torch_line(TRIAL, optimizer, {}), "line", "exec")


def test_yaml_lines() -> None:
    """The YAML reads back as the values found, whatever strings the optimizer holds."""
    optimizer = {"name": "mine.py:build", "nesterov": True, "note": "a: b, {c}"}
    assert yaml.safe_load(yaml_lines(TRIAL, optimizer, {})) == {
        "learning_rate": 0.03205,
        "weight_decay": 1e-5,
        "optimizer": optimizer,
    }


def test_words() -> None:
    """In words an optimizer is its class and its keywords."""
    assert optimizer_words({"name": "adamw", "betas": [0.9, 0.95]}) == "AdamW (betas [0.9, 0.95])"
    assert optimizer_words({}) == ""
    assert optimizer_words({"name": "mine.py:build", "beta": 0.9}) == "optimizer build (beta 0.9)"


def test_own_optimizer_of_the_task() -> None:
    """Where the task builds the optimizer itself, the config's is not claimed to have been used."""
    optimizer = optimizer_of({"optimizer": {"name": "sgd"}, "own_optimizer": True})
    assert torch_line(TRIAL, optimizer, {}) == "optimizer = task.optimizer(model, 0.03205, 1.0e-05)"
    assert "optimizer" not in yaml_lines(TRIAL, optimizer, {})


PLACES = {
    "alpha": "args.alpha",
    "centered": "optimizer.centered",
    "args.hidden": "args.hidden",
    "batch_size": "batch_size",
}
CELL = {**TRIAL, "val_loss": 0.1, "curve": "coarse-000", "alpha": 0.1, "centered": True, "args.hidden": 8} | {
    "batch_size": 32
}


def test_each_axis_stands_where_the_grid_has_found_it() -> None:
    """An argument of the task that is called like some optimizer's keyword is the task's, whatever it is called."""
    optimizer = {"name": "rmsprop", "momentum": 0.5}
    assert yaml.safe_load(yaml_lines(CELL, optimizer, PLACES)) == {
        "learning_rate": 0.03205,
        "weight_decay": 1e-5,
        "optimizer": {"name": "rmsprop", "momentum": 0.5, "centered": True},
        "args": {"alpha": 0.1, "hidden": 8},
        "batch_size": 32,
    }
    assert torch_line(CELL, optimizer, PLACES) == (
        "optimizer = torch.optim.RMSprop(model.parameters(), lr=0.03205, weight_decay=1.0e-05, momentum=0.5, "
        "centered=True)"
    )


def test_results_that_kept_no_places() -> None:
    """Of a run directory written before, the axes that the configured optimizer has are taken for the optimizer's."""
    cell = {**TRIAL, "momentum": 0.8, "optimizer.nesterov": True, "hidden": 8}
    read = yaml.safe_load(yaml_lines(cell, {"name": "sgd", "momentum": 0.9}, {}))
    assert read["optimizer"] == {"name": "sgd", "momentum": 0.8, "nesterov": True}
    assert read["hidden"] == 8


def test_places_are_those_of_the_coarse_grid() -> None:
    """They stand in its details; where it has not run, or kept none, there are none."""
    grid = StepResult("coarse-grid", details={"axes": PLACES})
    assert axis_places({"coarse-grid": grid}) == PLACES
    assert axis_places({}) == axis_places({"coarse-grid": StepResult("coarse-grid")}) == {}
