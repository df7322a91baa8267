from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from programs import (
    Constant,
    blob_task,
    blobs,
    codes,
    context_of,
    generator,
    language_task,
    linear_data,
    linear_task,
    mlp,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

from lrtune.steps.effort import RATES, SLOW, SMALL
from lrtune.steps.overfit import overfit

if TYPE_CHECKING:
    from programs import Notes

    import lrtune


def tried(task: lrtune.Task, **keys: Any) -> lrtune.StepResult:
    """The second step's result, on minibatches of 8."""
    return overfit(context_of(task, **{"batch_size": 8, **keys}))


def random_labels() -> TensorDataset:
    """Labels that have nothing to do with the inputs."""
    draw = generator(3)
    return TensorDataset(torch.randn(96, 8, generator=draw), torch.randint(3, (96,), generator=draw))


def conflicting() -> TensorDataset:
    """Every input four times, once with another label: no model is right more than three times in four."""
    inputs = torch.randn(10, 4, generator=generator(0)).repeat_interleave(4, 0)
    labels = torch.tensor([0, 0, 0, 1]).repeat(10)
    return TensorDataset(inputs, labels)


HEALTHY: dict[str, tuple[Any, dict[str, Any]]] = {
    "classifier": (blob_task, {}),
    "adam": (blob_task, {"optimizer": {"name": "adam"}}),
    "dropout": (
        lambda: blob_task(
            model=lambda: nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 3))
        ),
        {},
    ),
    "batch norm": (
        lambda: blob_task(
            model=lambda: nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))
        ),
        {},
    ),
    "random labels": (lambda: blob_task(model=lambda: mlp(8, 3, 128), train=random_labels(), val=None), {}),
    "linear regression": (lambda: linear_task(train=linear_data(64)), {}),
    "language model": (lambda: language_task(head=lambda v: nn.Linear(8, v)), {}),
    "unknown loss": (lambda: blob_task(loss=lambda o, t: F.cross_entropy(o, t).sqrt()), {}),
    "fewer batches than asked": (
        lambda: blob_task(train=blobs(12)),
        {"overfit": {"batches": 10, "steps": 300}},
    ),
    "own optimizer": (
        lambda: blob_task(optimizer=lambda m, lr, wd: torch.optim.RMSprop(m.parameters(), lr)),
        {},
    ),
}


@pytest.mark.parametrize(("make", "keys"), HEALTHY.values(), ids=HEALTHY)
def test_healthy_programs_pass(make: Any, keys: dict[str, Any]) -> None:
    """A healthy program learns a few minibatches by heart."""
    result = tried(make(), **keys)
    assert codes(result) == []
    assert result.summary["loss_last"] < result.summary["loss_first"]
    assert result.summary["learning_rate"] in RATES
    assert 0 < result.summary["steps"] <= 300


def test_conflicting_labels_reach_the_ceiling() -> None:
    """Repeated inputs with another label each pass at three quarters, the most that any model can reach."""
    result = tried(blob_task(model=lambda: mlp(hidden=64), train=conflicting(), val=None), batch_size=40)
    assert codes(result) == []
    assert result.summary["accuracy"] == pytest.approx(0.75)
    assert result.details["target"]["accuracy"] == pytest.approx(0.75)


def test_an_ignored_input_cannot_overfit() -> None:
    """A constant output never learns examples that differ, at any rate; the cause is named, the best try is told."""
    result = tried(blob_task(model=lambda: Constant(0.0, 0.0, 0.0)), overfit={"batches": 3, "steps": 100})
    assert codes(result) == ["input-ignored", "cannot-overfit"]
    assert result.findings[1].follows_from == "input-ignored"
    assert result.summary["accuracy"] < 0.6
    assert result.summary["steps"] == 100


def test_an_ignored_input_in_a_regression() -> None:
    """A constant reaches the variance and no less, which is no fit."""
    result = tried(linear_task(model=lambda: Constant(0.0)), overfit={"batches": 3, "steps": 100})
    assert codes(result) == ["input-ignored", "cannot-overfit"]
    assert result.summary["accuracy"] is None
    assert result.summary["loss_last"] > result.details["target"]["loss"]


class Fourth(nn.Module):
    """A loss surface so steep that even the lowest rate explodes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return huge outputs."""
        return 1e6 * self.layer(inputs) ** 3


def test_explosion() -> None:
    """A loss that becomes infinite at every rate explodes; the untrained model shows why."""
    task = blob_task(model=Fourth, loss=lambda o, t: F.mse_loss(o, F.one_hot(t, 3).float()), metrics={})
    result = tried(task)
    assert codes(result) == ["exploding-gradient", "loss-explodes"]
    assert result.findings[1].follows_from == "exploding-gradient"
    assert all(member["diverged_at"] is not None for member in result.details["members"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        pytest.param({"loss": lambda o, t: F.cross_entropy(o.detach(), t)}, "detached-loss", id="detached"),
        pytest.param({"model": lambda: mlp().requires_grad_(False)}, "frozen-model", id="frozen"),
    ],
)
def test_wiring_faults_stop_at_once(fields: dict[str, Any], expected: str) -> None:
    """What cannot be trained at all is told by its cause, before anything is tried."""
    result = tried(blob_task(**fields))
    assert codes(result) == [expected]
    assert set(result.summary) == {"loss_first", "loss_last", "accuracy", "learning_rate", "steps"}


def test_curves_and_members_tell_the_same() -> None:
    """Each rate has a curve whose evaluations are its measurements; the diverged ones end there."""
    result = tried(blob_task())
    assert [member["learning_rate"] for member in result.details["members"]] == pytest.approx(list(RATES))
    for member in result.details["members"]:
        curve = result.curves[member["curve"]]
        assert curve.evaluations[0]["step"] == 0
        assert all(torch.isfinite(torch.tensor(curve.loss)))
        if member["diverged_at"] is None:
            assert curve.evaluations[-1]["train_loss"] == member["loss"]
            assert curve.evaluations[-1]["step"] == len(curve.loss)


def test_the_same_twice() -> None:
    """The same seed gives the same result, curves included."""
    one, other = tried(blob_task()), tried(blob_task())
    assert (one.summary, one.details, one.curves) == (other.summary, other.details, other.curves)
    assert tried(blob_task(), seed=1).summary != one.summary


def step_of(loss: Any, dictionary: bool = False) -> Any:
    """A step that returns nothing but a loss, of pairs or of dicts."""

    def step(model: nn.Module, batch: Any) -> Any:
        inputs, target = (batch["x"], batch["y"]) if dictionary else batch
        value = loss(model(inputs), target)
        return {"loss": value, "target": target} if dictionary else value

    return step


def offset(output: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy that no training brings below 10."""
    return F.cross_entropy(output, target) + 10


@pytest.mark.parametrize("dictionary", [False, True], ids=["pairs", "dicts"])
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        pytest.param(mlp, [], id="learns"),
        pytest.param(lambda: Constant(2.0, 0.0, -2.0), ["input-ignored", "cannot-overfit"], id="ignores it"),
    ],
)
def test_an_offset_of_an_unknown_loss(model: Any, expected: list[str], dictionary: bool) -> None:
    """Through a step whose floor nobody knows, learning by the input passes, learning without it does not."""
    batches: list[Any] = list(zip(*(tensor.split(8) for tensor in blobs().tensors), strict=True))
    if dictionary:
        batches = [{"x": inputs, "y": target} for inputs, target in batches]
    task = blob_task(
        model=model, train=batches, val=None, loss=None, step=step_of(offset, dictionary), metrics={}
    )
    assert codes(tried(task)) == expected


def test_an_autoencoder_of_labelled_data() -> None:
    """Labels that a step does not look at are no target: the first loss is the measure then."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        return (model(batch[0]) - batch[0]).abs().pow(1.5).mean()

    task = blob_task(model=lambda: mlp(4, 4, 32), loss=None, step=step, metrics={})
    result = tried(task)
    assert codes(result) == []
    assert "batches' parts" in result.details["target"]["reason"]


def test_a_language_model_of_conflicting_continuations() -> None:
    """A healthy language model on texts that begin alike passes at the ceiling that they set."""
    tokens = torch.randint(3, (40, 9), generator=generator(5))
    batches = [{"tokens": part[:, :-1], "targets": part[:, 1:]} for part in tokens.split(8)]
    healthy = language_task(3, head=lambda v: nn.Linear(8, v))

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.cell = nn.Embedding(3, 16), nn.GRU(16, 64, batch_first=True)
            self.head = nn.Linear(64, 3)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.cell(self.embedding(inputs))[0])

    task = type(healthy)(model=Recurrent, train=batches, step=healthy.step)
    result = tried(task, optimizer={"name": "adam"}, overfit={"batches": 3, "steps": 300})
    assert codes(result) == []
    assert result.details["target"]["accuracy"] < 1


@pytest.mark.parametrize("seed", range(4))
def test_an_offset_regression(seed: int) -> None:
    """A squared error that no training brings below 100 is learnt all the same, over four seeds."""
    task = linear_task(loss=lambda o, t: F.mse_loss(o, t) + 100)
    assert codes(tried(task, seed=seed)) == []
    ignoring = linear_task(model=lambda: Constant(0.0), loss=task.loss)
    result = tried(ignoring, seed=seed, overfit={"batches": 5, "steps": 100})
    assert codes(result) == ["input-ignored", "cannot-overfit"]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model's forward pass is taken for a slow one."""
    monkeypatch.setattr("lrtune.steps.overfit.forward_seconds", lambda *rest: 2 * SLOW)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize(("make", "keys"), HEALTHY.values(), ids=HEALTHY)
def test_slow_healthy_programs_pass(make: Any, keys: dict[str, Any]) -> None:
    """With fewer rates healthy programs pass as well."""
    context = context_of(make(), **{"batch_size": 8, **keys})
    result = overfit(context)
    assert codes(result) == []
    assert [member["learning_rate"] for member in result.details["members"]] == pytest.approx(
        list(SMALL.rates)
    )
    notes = [note for note in cast("Notes", context.progress).notes if "a forward pass takes" in note]
    assert notes == ["a forward pass takes 0.1 s: trying 5 rates instead of 9"]


@pytest.mark.usefixtures("slow")
def test_slow_faults_are_still_named() -> None:
    """With less effort a model that ignores its input fails, and one with a softmax too many by its name."""
    assert codes(tried(blob_task(model=lambda: Constant(0.0, 0.0, 0.0))))[0] == "input-ignored"
    squashed = lambda: nn.Sequential(mlp(), nn.Softmax(-1))  # noqa: E731 - a factory in a line
    assert codes(tried(blob_task(model=squashed)))[0] == "double-softmax"
