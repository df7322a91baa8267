"""Programs of every kind in step 3: own optimizers, own batches, code that fails at some rates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from programs import Choosy, blob_task, blobs, codes, context_of, language_task, linear_data, linear_task, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.steps.find_lr import find_lr

if TYPE_CHECKING:
    from collections.abc import Callable

# As one program a training rounds differently, and planning one trains a few steps that are not counted.
SERIAL: dict[str, Any] = {"population": {"execution": "serial"}}


def found(task: lrtune.Task, **keys: Any) -> lrtune.StepResult:
    """The third step's result."""
    return find_lr(context_of(task, **SERIAL, **keys))


def check_it_trains(task: lrtune.Task, result: lrtune.StepResult) -> None:
    """The suggestion takes the classifier's loss below half within 100 steps, over three seeds."""
    assert result.summary["low"] < result.summary["suggestion"] < result.summary["high"]
    inputs, target = blobs().tensors
    for seed in range(3):
        context = context_of(task, batch_size=16)
        torch.manual_seed(seed)
        model, stream = task.model(), context.data.train.stream(seed)
        optimizer = context.program.optimizer(model, result.summary["suggestion"], 0.0)
        first = F.cross_entropy(model(inputs), target).item()
        for _ in range(100):
            some, wanted = next(stream)
            optimizer.zero_grad()
            F.cross_entropy(model(some), wanted).backward()
            optimizer.step()
        assert F.cross_entropy(model(inputs), target).item() < 0.5 * first


class Recorded(torch.optim.SGD):
    """Remembers each group's rate and decay at every step of any such optimizer."""

    steps: ClassVar[Counter[tuple[tuple[float, float], ...]]] = Counter()

    def step(self, closure: Any = None) -> Any:
        """Take a step."""
        self.steps[tuple((group["lr"], group["weight_decay"]) for group in self.param_groups)] += 1
        return super().step(closure)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Counter[Any]:
    """The steps of one test."""
    taken: Counter[Any] = Counter()
    monkeypatch.setattr(Recorded, "steps", taken)
    return taken


def two_groups(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """A head with ten times the rate of the body."""
    body, _, head = model
    groups = [{"params": body.parameters(), "lr": lr}, {"params": head.parameters(), "lr": 10 * lr}]
    return Recorded(groups, lr, momentum=0.9, weight_decay=weight_decay)


def test_groups_keep_their_ratio(steps: Counter[Any]) -> None:
    """The head has ten times the body's rate at every step of sweeps and probes; the body's is the one told."""
    task = blob_task(optimizer=two_groups)
    result = found(task, batch_size=16)
    for (body, _), (head, _) in steps:
        assert head == pytest.approx(10 * body)
    rates = {body for (body, _), _ in steps}
    probed = {rate["learning_rate"] for rate in result.details["probes"]["rates"]}
    assert probed <= rates <= probed | set(result.details["learning_rates"])
    assert result.summary["effective"] == pytest.approx(10 * result.summary["suggestion"], rel=0.01)
    check_it_trains(task, result)


@pytest.mark.parametrize("decay", [0.0, 1e-4, 0.02])
def test_weight_decay_reaches_the_optimizer(decay: float, steps: Counter[Any]) -> None:
    """`find_lr.weight_decay` at every step, of sweeps and probes alike."""
    found(blob_task(optimizer=two_groups), batch_size=16, find_lr={"weight_decay": decay})
    assert {one for groups in steps for _, one in groups} == {decay}


class Clipped(torch.optim.SGD):
    """Bounds each step by itself."""

    def step(self, closure: Any = None) -> Any:
        """Take a step of bounded length."""
        for group in self.param_groups:
            nn.utils.clip_grad_norm_(group["params"], 1.0)
        return super().step(closure)


@pytest.mark.parametrize("seed", range(2))
def test_clipping_in_the_optimizer(seed: int) -> None:
    """Steps that never explode: a bounded rate is suggested all the same, after which the loss is near its floor.

    A rate is a step's length then: to go the way of about 4 to the best weights in 100 steps takes 0.04 at least,
    and at 1 the weights go on to jump by a quarter of it.
    """
    task = linear_task(
        train=linear_data(256, noise=1.0),
        optimizer=lambda model, lr, decay: Clipped(model.parameters(), lr, weight_decay=decay),
    )
    result = found(task, batch_size=16, seed=seed)
    assert result.verdict != "fail"
    assert 0.04 < result.summary["suggestion"] < 1


@pytest.mark.parametrize("optimizer", [{"name": "sgd", "momentum": 0.9}, {"name": "adamw"}], ids=str)
def test_dict_batches(optimizer: dict[str, Any]) -> None:
    """A step on batches of dicts: the suggestion is a constant rate after which a language model knows the rule."""
    result = found(language_task(), optimizer=optimizer)
    assert result.verdict != "fail"
    details = result.details["probes"]
    assert details["split"] == "training subset"
    assert min(row["loss"] for row in details["rates"] if row["loss"]) < 0.2 * details["initial_loss"]
    assert result.summary["low"] < result.summary["suggestion"] < result.summary["high"]


class Fragile(nn.Module):
    """Gives NaN where its weights have moved far."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, or NaN."""
        far = max(float(one.detach().abs().max()) for one in self.parameters()) > 5
        return self.body(inputs) * (torch.nan if far else 1.0)


def test_nan_at_some_rates() -> None:
    """Rates that end in NaN count as diverged, those below give a suggestion."""
    task = blob_task(model=Fragile)
    result = found(task, batch_size=16)
    assert "trial-failed" not in codes(result)
    assert result.summary["suggestion"] < result.summary["diverged_at"]
    check_it_trains(task, result)


def test_code_that_raises_at_high_rates() -> None:
    """An assertion of the user's that fails at high rates is a warning, and there is still a suggestion."""
    task = blob_task(model=Choosy)
    result = found(task, batch_size=16)
    failed = next(one for one in result.findings if one.code == "trial-failed")
    assert "weights out of bounds" in failed.message
    assert result.verdict == "warn"
    check_it_trains(task, result)


def raising(at: Callable[[int], bool]) -> tuple[Any, list[int]]:
    """A loss that raises at some of its calls, and their list."""
    calls: list[int] = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        calls.append(1)
        if at(len(calls)):
            raise ValueError("not now")
        return F.cross_entropy(output, target)

    return loss, calls


def test_code_that_always_raises() -> None:
    """What raises at every rate is the user's error, with its cause."""
    with pytest.raises(lrtune.UserCodeError, match="not now") as caught:
        found(blob_task(loss=raising(lambda call: True)[0]), batch_size=16)
    assert isinstance(caught.value.__cause__, ValueError)


def test_code_that_raises_at_every_probe() -> None:
    """Sweeps that ran are not enough to go on with a program that raises from then on."""
    loss, calls = raising(lambda call: False)
    swept = sum(
        one is not None
        for sweep in found(blob_task(loss=loss), batch_size=16).details["sweeps"]
        for one in sweep["loss"]
    )
    assert swept < len(calls)
    with pytest.raises(lrtune.UserCodeError, match="not now"):
        found(blob_task(loss=raising(lambda call: call > swept + 20)[0]), batch_size=16)


@pytest.mark.parametrize("call", [55, 170, 420], ids=["a sweep", "another sweep", "a probe"])
def test_one_failure_is_a_warning(call: int) -> None:
    """Code that raises once costs one training."""
    loss, _ = raising(lambda now: now == call)
    result = found(blob_task(loss=loss), batch_size=16)
    assert codes(result).count("trial-failed") == 1
    assert result.summary["suggestion"] is not None
