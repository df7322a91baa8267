from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import blob_task
from torch import nn

import lrtune
from lrtune.reports.settings import optimizer_words
from lrtune.testing import assert_check, assert_initial_loss, assert_learning_rate, assert_overfits

if TYPE_CHECKING:
    from collections.abc import Callable

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "batch_size": 16,
    "overfit": {"batches": 2, "steps": 60},
    "find_lr": {"steps": 40, "repeats": 2},
    "population": {"execution": "serial"},
}
CONFIG = lrtune.Config(**SETTINGS)


def scaled() -> nn.Module:
    """A model whose last layer is 100 times too large."""
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    with torch.no_grad():
        model[-1].weight *= 100
    return model


def squashed() -> nn.Module:
    """A model with a softmax before a loss that has its own."""
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3), nn.Softmax(dim=1))


def nothing(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """A loss that is no number."""
    return nn.functional.cross_entropy(output, target) * float("nan")


def test_a_healthy_task_passes() -> None:
    """Each assertion returns the result of its step."""
    task = blob_task()
    assert assert_initial_loss(task, CONFIG, low=0.9, high=1.6).step == "check-init"
    assert assert_overfits(task, CONFIG).summary["accuracy"] == 1.0
    assert 0.001 < assert_learning_rate(task, 0.001, 10.0, CONFIG).summary["suggestion"] < 10.0
    assert assert_check(task, CONFIG, budget=600).step == "check"


FAILING: dict[str, tuple[Callable[[], object], str, str]] = {
    "initial loss": (
        lambda: assert_initial_loss(blob_task(model=scaled), CONFIG),
        "check-init failed",
        "initial-loss-high",
    ),
    "overfit": (
        lambda: assert_overfits(blob_task(model=squashed), CONFIG),
        "overfit failed",
        "double-softmax",
    ),
    "learning rate": (
        lambda: assert_learning_rate(blob_task(loss=nothing), 0.1, 1.0, CONFIG),
        "find-lr failed",
        "diverges-everywhere",
    ),
    "check": (
        lambda: assert_check(blob_task(model=scaled), CONFIG),
        "check failed",
        "initial-loss-high",
    ),
}


@pytest.mark.parametrize(("work", "head", "code"), FAILING.values(), ids=FAILING)
def test_what_fails_says_why_and_how_to_mend_it(work: Any, head: str, code: str) -> None:
    """The message has the finding's code, its numbers, the fix and where to read more."""
    with pytest.raises(AssertionError) as caught:
        work()
    lines = str(caught.value).splitlines()
    assert lines[0] == head
    assert any(line.startswith(f"  error {code}: ") for line in lines)
    assert any(line.startswith("    Fix: ") for line in lines)
    assert any(line.startswith("    More: lrtune explain ") for line in lines)


def test_bounds_of_the_initial_loss() -> None:
    """A loss that theory allows can still be outside what the test wants."""
    with pytest.raises(AssertionError, match=r"initial loss is 1.*, expected at least 3$"):
        assert_initial_loss(blob_task(), CONFIG, low=3)
    with pytest.raises(AssertionError, match=r"expected at least 0.1 and at most 0.2$"):
        assert_initial_loss(blob_task(), CONFIG, low=0.1, high=0.2)


def test_bounds_of_the_learning_rate() -> None:
    """A suggestion outside them is told with its interval and what to do."""
    with pytest.raises(AssertionError) as caught:
        assert_learning_rate(blob_task(), 1e-6, 1e-5, CONFIG)
    message = str(caught.value)
    optimizer = optimizer_words(CONFIG.optimizer.model_dump())
    said = f"find-lr: with {optimizer} and batches of {CONFIG.batch_size} the suggested learning rate is "
    assert message.startswith(said)
    assert "expected at least 1e-06 and at most 1e-05" in message
    assert "Fix: " in message


def test_bounds_the_wrong_way_round() -> None:
    """They are bad usage, not a failure of the task."""
    with pytest.raises(lrtune.UsageError, match=r"low: expected at most high \(0.1\), got 0.3"):
        assert_learning_rate(blob_task(), 0.3, 0.1)
    with pytest.raises(lrtune.UsageError, match="low: expected"):
        assert_initial_loss(blob_task(), low=3, high=2)


def test_strict_makes_warnings_fail() -> None:
    """A warning passes unless asked otherwise."""
    narrow = lrtune.Config(**{**SETTINGS, "find_lr": {"max": 0.1, "steps": 40, "repeats": 2}})
    assert assert_learning_rate(blob_task(), 1e-6, 10.0, narrow).verdict == "warn"
    with pytest.raises(AssertionError, match="warning never-diverged"):
        assert_learning_rate(blob_task(), 1e-6, 10.0, narrow, strict=True)


def test_a_missing_baseline_is_bad_usage(tmp_path: Path) -> None:
    """`assert_check` hands its file on."""
    with pytest.raises(lrtune.UsageError, match="no such file"):
        assert_check(blob_task(), CONFIG, baseline=str(tmp_path / "b.json"))


PYTEST = """\
import programs, torch
from lrtune import Config
from lrtune.testing import assert_overfits

def test_it_learns():
    frozen = lambda: torch.nn.Linear(4, 3).requires_grad_(False)
    assert_overfits(programs.blob_task(model=frozen), Config(device="cpu", overfit={"steps": 25}))
"""


def test_pytest_shows_the_users_line_alone(tmp_path: Path) -> None:
    """In a user's suite the failure points to the test, with nothing of lrtune's own code."""
    (tmp_path / "test_mine.py").write_text(PYTEST)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    programs = str(Path(__file__).parent)
    options = ["-c", "/dev/null", "-o", f"pythonpath={programs}", str(tmp_path)]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout
    assert "error frozen-model: " in done.stdout
    assert "Fix: " in done.stdout
    assert "lrtune/testing.py" not in done.stdout.replace("lrtune.testing", "")


def test_importing_it_is_light() -> None:
    """A suite that only collects does not wait for torch."""
    code = "import sys, lrtune.testing; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr
