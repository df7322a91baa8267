"""The recipe's checks as assertions, for a test suite.

```python
# test_training.py
from lrtune.testing import assert_initial_loss, assert_learning_rate, assert_overfits
from my_task import make_task


def test_the_model_can_learn():
    assert_overfits(make_task())


def test_the_rate_we_train_with_is_still_right():
    assert_learning_rate(make_task(), low=0.01, high=0.3)
```

Each returns the step's result, so that a test can look further. What fails tells what `lrtune` itself would print: the
finding with its numbers, and how to mend it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.errors import UsageError, UserCodeError
from lrtune.user_trace import users_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.config import Config
    from lrtune.results import Finding, StepResult
    from lrtune.task import Task

__all__ = ["assert_check", "assert_initial_loss", "assert_learning_rate", "assert_overfits"]


def assert_initial_loss(
    task: Task,
    config: Config | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    strict: bool = False,
) -> StepResult:
    """Assert that step 1 finds no error: the loss at initialisation, the data, the model, the first gradient.

    Args:
        task: Model, data and loss.
        config: Settings; all have defaults.
        low: What the initial loss is at least, besides what theory expects of it.
        high: What it is at most.
        strict: Warnings fail, too.

    Raises:
        AssertionError: Naming what was found and how to mend it.
        UsageError: If the task, the settings or the bounds cannot be used.
        UserCodeError: If the task's own code raises.
    """
    __tracebackhide__ = True
    from lrtune.api import check_init

    _ordered(low, high)
    result = _passed(_called(check_init, task, config), strict)
    loss = result.summary["initial_loss"]
    if (low is not None and not loss >= low) or (high is not None and not loss <= high):
        raise AssertionError(f"check-init: the initial loss is {loss:.4g}, expected {_bounds(low, high)}")
    return result


def assert_overfits(task: Task, config: Config | None = None, *, strict: bool = False) -> StepResult:
    """Assert that step 2 passes: a few minibatches can be learnt by heart.

    Args:
        task: Model, data and loss.
        config: Settings; all have defaults.
        strict: Warnings fail, too.

    Raises:
        AssertionError: Naming what was found and how to mend it.
        UsageError: If the task or the settings cannot be used.
        UserCodeError: If the task's own code raises.
    """
    __tracebackhide__ = True
    from lrtune.api import overfit

    return _passed(_called(overfit, task, config), strict)


def assert_learning_rate(
    task: Task, low: float, high: float, config: Config | None = None, *, strict: bool = False
) -> StepResult:
    """Assert that step 3 suggests a learning rate within bounds.

    Args:
        task: Model, data and loss.
        low: The lowest rate that is right.
        high: The highest.
        config: Settings; all have defaults.
        strict: Warnings fail, too.

    Raises:
        AssertionError: Naming what was found and how to mend it.
        UsageError: If the task, the settings or the bounds cannot be used.
        UserCodeError: If the task's own code raises.
    """
    __tracebackhide__ = True
    from lrtune.api import find_lr

    _ordered(low, high)
    result = _passed(_called(find_lr, task, config), strict)
    found = result.summary
    if not low <= found["suggestion"] <= high:
        interval = f"interval {found['low']:.2g} to {found['high']:.2g}, confidence {found['confidence']}"
        raise AssertionError(
            f"find-lr: with {_trained_with(task, config)} the suggested learning rate is "
            f"{found['suggestion']:.3g} ({interval}), expected "
            f"{_bounds(low, high)}\n  Fix: find the change of model, data or optimizer that moved it; where it is "
            "meant, train with the new rate and move the bounds."
        )
    return result


def assert_check(
    task: Task,
    config: Config | None = None,
    *,
    baseline: str | None = None,
    budget: float | None = None,
    strict: bool = False,
) -> StepResult:
    """Assert that `lrtune check` passes: steps 1 to 3, and nothing has moved away from a baseline.

    Args:
        task: Model, data and loss.
        config: Settings; all have defaults.
        baseline: A file that `lrtune check --update-baseline` wrote.
        budget: Seconds, 120 unless given; what is not done by then is a warning.
        strict: Warnings fail, too.

    Raises:
        AssertionError: Naming what was found and how to mend it.
        UsageError: If the task, the settings, the budget or the baseline cannot be used.
        UserCodeError: If the task's own code raises.
    """
    __tracebackhide__ = True
    from lrtune.api import check
    from lrtune.checking import BUDGET

    seconds = BUDGET if budget is None else budget
    return _passed(_called(check, task, config, budget=seconds, baseline=baseline), strict)


def _called(step: Callable[..., StepResult], *arguments: Any, **keywords: Any) -> StepResult:
    """Run a step; what the user's code raises is told from the user's first line on, without the way there."""
    __tracebackhide__ = True
    try:
        return step(*arguments, **keywords)
    except UserCodeError as error:
        cause = error.__cause__
        raise error.with_traceback(None) from (cause and cause.with_traceback(users_part(cause)))


def _trained_with(task: Task, config: Config | None) -> str:
    """Return in words what a learning rate depends on: the optimizer, and the batch size."""
    from lrtune.config import Config
    from lrtune.provenance import own_batches
    from lrtune.reports.settings import optimizer_words

    settings = config or Config()
    optimizer = settings.optimizer.model_dump()
    words = "the task's own optimizer" if task.optimizer is not None else optimizer_words(optimizer)
    own = own_batches(task.train)
    size = settings.batch_size if own is None else own["size"]
    return f"{words} and " + (f"batches of {size}" if size else "the batches of the data")


def _passed(result: StepResult, strict: bool) -> StepResult:
    __tracebackhide__ = True
    failing = ("error", "warning") if strict else ("error",)
    told = [found for found in result.findings if found.severity in failing]
    if told:
        raise AssertionError("\n".join([f"{result.step} failed", *map(_told, told)]))
    return result


def _told(found: Finding) -> str:
    more = "" if found.follows_from else f"\n    More: lrtune explain {found.code}"
    return f"{found}{more}"


def _ordered(low: float | None, high: float | None) -> None:
    if low is not None and high is not None and not low <= high:
        raise UsageError(f"low: expected at most high ({high:g}), got {low:g}")


def _bounds(low: float | None, high: float | None) -> str:
    return " and ".join(
        f"{word} {bound:g}" for word, bound in (("at least", low), ("at most", high)) if bound is not None
    )
