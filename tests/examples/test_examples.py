from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from programs import codes

import lrtune

ROOT = Path(__file__).parents[2]
SHORT: dict[str, Any] = {
    "find_lr": {"repeats": 2},
    "coarse": {"epochs": 1, "weight_decay": [0.0]},
    "refine": {"trials": 2, "epochs": 2, "seeds": 1},
}
# By name: the config's changes for a short run, what the loss begins at, and what the best setting reaches.
EXAMPLES: dict[str, tuple[dict[str, Any], float, dict[str, float]]] = {
    "digits-mlp": ({}, math.log(10), {"accuracy": 0.96}),
    "digits-cnn": (SHORT, math.log(10), {"accuracy": 0.9}),
    "diabetes": ({**SHORT, "coarse": {"epochs": 3, "weight_decay": [0.0]}}, 1.0, {}),
    "char-transformer": (
        {**SHORT, "args": {"context": 16, "sentences": 400, "width": 32, "layers": 1}},
        math.log(28),
        {},
    ),
}


def loaded(name: str, changes: dict[str, Any]) -> tuple[lrtune.Task, lrtune.Config]:
    """An example's task and config, with some settings changed, on the CPU and without a run directory."""
    import yaml

    keys = {**yaml.safe_load((ROOT / "configs" / f"{name}.yaml").read_text()), **changes, "device": "cpu"}
    del keys["run_dir"]
    config = lrtune.Config(**keys)
    return lrtune.load_task(config.task, config.args, str(ROOT / "configs")), config


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_config_has_its_example(name: str) -> None:
    """Each example has a config whose task loads; training and validation sets are there."""
    task, config = loaded(name, {})
    assert len(task.train) > len(task.val) > 0
    assert config.task.startswith("../examples/")


def test_no_example_is_left_out() -> None:
    """Every file of examples/ and of configs/ is tested here."""
    assert {path.stem for path in (ROOT / "configs").glob("*.yaml")} == set(EXAMPLES)
    assert {path.stem.replace("_", "-") for path in (ROOT / "examples").glob("*.py")} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_whole_recipe_passes(name: str) -> None:
    """An example's recipe has no error finding, begins at the expected loss, and its best setting learns."""
    changes, first, reached = EXAMPLES[name]
    task, config = loaded(name, changes)
    result = lrtune.run(task, config)
    assert result.verdict != "fail", codes(result)
    assert [step.step for step in result.steps] == [
        "check-init",
        "overfit",
        "find-lr",
        "coarse-grid",
        "refine-grid",
        "report",
    ]
    initial = result.steps[0].summary
    assert initial["initial_loss"] == pytest.approx(first, rel=0.1)
    best = result.summary["best"]
    assert best["val_loss"] < 0.9 * initial["initial_loss"]
    for metric, least in reached.items():
        assert best["metrics"][metric] >= least
