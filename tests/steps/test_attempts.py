from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import blob_task, codes, context_of, mlp
from torch import nn

from lrtune.errors import UserCodeError
from lrtune.population.protocol import Member
from lrtune.steps.attempts import CrashLoop, attempts
from lrtune.steps.coarse_grid import coarse_grid

SETTINGS = {"weight_decay": [0.0], "epochs": 1}


class Failing:
    """Builds optimizers that raise at their first steps: by rate, how often."""

    def __init__(self, **times: int) -> None:
        self.left = {
            float(rate.removeprefix("at_").replace("_", ".")): count for rate, count in times.items()
        }
        self.raised = 0
        self.error: Exception = ValueError("out of luck at 3")

    def __call__(self, model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """Return an optimizer whose first step raises while there are failures left for its rate."""
        made = torch.optim.SGD(model.parameters(), lr)

        def fail(*_: Any) -> None:
            if self.left.get(lr, 0) > 0:
                self.left[lr] -= 1
                self.raised += 1
                raise self.error

        made.register_step_post_hook(fail)
        return made


def context(failing: Failing, rates: list[float]) -> Any:
    """A grid over some rates, one of which may fail."""
    return context_of(
        blob_task(model=mlp, optimizer=failing),
        batch_size=16,
        coarse={**SETTINGS, "lr": rates},
        population={"execution": "serial"},
    )


@pytest.mark.parametrize(
    ("times", "tries", "fails"), [(0, 1, False), (1, 2, False), (2, 3, False), (9, 3, True)]
)
def test_a_trial_that_raises_is_tried_again(times: int, tries: int, fails: bool) -> None:
    """Up to two more times; a failure that passes leaves no trace in the result."""
    made = context(Failing(at_0_1=times), [0.1])
    (attempt,) = attempts(made, [Member(0.1)], 1)
    assert (attempt.tries, attempt.run.failure is not None) == (tries, fails)
    if not fails:
        (alone,) = attempts(context(Failing(), [0.1]), [Member(0.1)], 1)
        assert attempt.run.curve == alone.run.curve


def test_out_of_memory_fails_a_trial_alone() -> None:
    """A trial that finds no memory, alone and three times, has failed; the others are there."""
    failing = Failing(at_0_3=99)
    failing.error = torch.OutOfMemoryError("CUDA out of memory")
    result = coarse_grid(context(failing, [0.03, 0.1, 0.3]), None)
    states = {one["lr"]: one["state"] for one in result.summary["trials"]}
    assert states[0.3] == "failed"
    assert states[0.1] == "complete"
    message = next(one.message for one in result.findings if one.code == "trial-failed")
    assert "(tried 3 times)" in message
    assert "out of memory" in message
    assert failing.raised == 3


def test_a_crash_loop_stops_the_grid() -> None:
    """Where the first three trials fail alike the others are not begun, and the user's error is what is raised."""
    rates = [0.01 * at for at in range(1, 9)]
    failing = Failing()
    failing.left = dict.fromkeys(rates, 99)
    with pytest.raises(UserCodeError, match=r"first 3 trials all failed alike.*out of luck") as caught:
        coarse_grid(context(failing, rates), None)
    assert caught.value.__cause__ is failing.error
    assert failing.raised == 3 * 3


def test_failures_after_a_success_are_no_crash_loop() -> None:
    """A trial that has gone well shows that the fault is in the others' numbers."""
    rates = [0.1, 0.2, 0.3, 0.4, 0.5]
    failing = Failing()
    failing.left = dict.fromkeys(rates[1:], 99)
    result = coarse_grid(context(failing, rates), None)
    assert "trial-failed" in codes(result)
    assert result.summary["best"]["lr"] == 0.1


def test_failures_of_several_kinds_are_no_crash_loop() -> None:
    """What differs by more than its numbers may have several causes: all trials are tried."""
    loop = CrashLoop()
    for text in ("nan at 3", "nan at 4.5e-1", "no such file"):
        (run,) = [attempt.run for attempt in attempts(context(Failing(), [0.1]), [Member(0.1)], 1)]
        run.failure = ValueError(text)
        loop.add(run)
    assert not loop.well
    with pytest.raises(UserCodeError, match="ValueError while training: nan at 3"):
        loop.raise_first()
