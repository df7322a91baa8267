from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import (
    CPU,
    Choosy,
    batches_of,
    blob_task,
    blobs,
    linear_task,
    mlp,
    program_of,
    quadratic_task,
    trained_alone,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.data.batches import Batches, FixedBatches
from lrtune.data.resident import ResidentBatches
from lrtune.errors import TaskError, UserCodeError
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    import lrtune

STEPS = 40  # over two epochs of batches, and over one block of the engine


def batches() -> Batches:
    """The classes' examples in shuffled batches, the last one incomplete."""
    return ResidentBatches(blobs(90), 7, CPU, Silent())


def population(
    task: lrtune.Task, members: list[Member], optimizer: dict[str, Any] | None = None
) -> SerialPopulation:
    """Members of a task over the classes' examples."""
    val = batches_of(blobs(48, seed=1), 16)
    return SerialPopulation(program_of(task, **optimizer or {}), members, batches(), {"val": val})


def assert_alone(
    task: lrtune.Task, members: list[Member], optimizer: dict[str, Any] | None = None, evaluate: bool = False
) -> None:
    """Every member's losses and final parameters are bit for bit those of a plain loop."""
    together = population(task, members, optimizer)
    losses = []
    for block in (13, STEPS - 13):
        losses.append(together.advance(block))
        if evaluate:
            together.evaluate("val")
            together.evaluate("val", training_mode=True)
    rows = torch.cat(losses, dim=1)
    for at, member in enumerate(members):
        stream = batches().stream(member.order)
        alone, state = trained_alone(together._program, member, [next(stream) for _ in range(STEPS)])
        assert rows[at].tolist() == alone
        exported = together.export(at)
        assert exported.keys() == state.keys()
        assert all(torch.equal(exported[key], state[key]) for key in state)


class Noisy(nn.Module):
    """Dropout and batch normalisation: random numbers and buffers in training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.layers(inputs)


class InPlace(nn.Module):
    """Changes its input in place, as a first ReLU(inplace=True) does."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.layer(inputs.mul_(1.5))


class Counting(nn.Module):
    """Counts its forward passes in buffers, one moved in place and one replaced, and lets the count matter."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("moved", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits that depend on the count."""
        self.moved += 1
        self.replaced = self.replaced + 1
        return self.layer(inputs) * (1 + 0.01 * self.moved + 0.01 * self.replaced)


MEMBERS = [
    Member(0.03, 0.0, 0, 0),
    Member(0.01, 0.01, 1, 0),
    Member(0.002, 0.1, 2, 5),
    Member(0.03, 0.01, 0, 5),
]
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd"},
    "momentum": {"name": "sgd", "momentum": 0.9},
    "nesterov": {"name": "SGD", "momentum": 0.9, "nesterov": True},
    "adam": {"name": "adam"},
    "adamw with betas": {"name": "adamw", "betas": [0.8, 0.99]},
    "rmsprop": {"name": "rmsprop", "momentum": 0.5},
    "adagrad": {"name": "adagrad"},
    "another class of torch.optim": {"name": "NAdam"},
}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "plain": mlp,
    "dropout and batch norm": Noisy,
    "in place": InPlace,
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizers_bitwise(optimizer: dict[str, Any]) -> None:
    """With any optimizer, each member is bitwise what it is alone: rates, decays, seeds and orders of their own."""
    assert_alone(blob_task(), MEMBERS, optimizer)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_models_bitwise(model: Callable[[], nn.Module]) -> None:
    """Models that draw random numbers, keep statistics or change their input are bitwise what they are alone."""
    assert_alone(blob_task(model=model), MEMBERS, {"name": "sgd", "momentum": 0.9})


@pytest.mark.parametrize("model", [mlp, Noisy, Counting], ids=["plain", "dropout and batch norm", "counting"])
def test_evaluating_changes_nothing(model: Callable[[], nn.Module]) -> None:
    """Training with evaluations in between, in both modes, is bitwise that without."""
    assert_alone(blob_task(model=model), MEMBERS[:2], evaluate=True)


def own_groups(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """No decay for biases, and a tenth of the rate for the first layer."""
    head, rest = list(model[2].parameters()), list(model[0].parameters())
    return torch.optim.SGD(
        [{"params": rest, "lr": 0.1 * lr}, {"params": head, "weight_decay": 0.0}],
        lr=lr,
        momentum=0.9,
        weight_decay=weight_decay,
    )


def test_own_optimizer_bitwise() -> None:
    """A task's own optimizer with parameter groups trains each member as it does alone."""
    assert_alone(blob_task(optimizer=own_groups), MEMBERS, {"name": "adam"})


def test_schedule_keeps_the_ratio_of_groups() -> None:
    """A scheduled rate moves every group by the same factor, and its last value holds afterwards."""
    rates = (0.1, 0.05, 0.2)
    trained = population(blob_task(optimizer=own_groups), [Member(rates[0], schedule=rates)])
    for rate in (*rates, rates[-1]):
        trained.advance(1)
        groups = trained._slots[0]._optimizer.param_groups
        assert [group["lr"] for group in groups] == pytest.approx([0.1 * rate, rate], rel=1e-12)


def test_schedule_known_answer() -> None:
    """On a quadratic, scheduled gradient descent multiplies w by (1 - rate * curvature) of each step."""
    rates = (0.1, 0.2, 0.4)
    quadratic = quadratic_task(1.0)
    trained = SerialPopulation(
        program_of(quadratic), [Member(rates[0], schedule=rates)], FixedBatches(quadratic.train), {}
    )
    losses = trained.advance(4)[0].tolist()
    weights = [1.0, 0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.6]
    assert losses == pytest.approx([0.5 * weight**2 for weight in weights], rel=1e-6)


@pytest.mark.parametrize("curvature", [0.5, 4.0, 100.0])
def test_stability_bound_of_gradient_descent(curvature: float) -> None:
    """Plain gradient descent on a quadratic converges below 2/curvature, stands on it, and diverges above."""
    bound = 2 / curvature
    quadratic = quadratic_task(curvature)
    rates = [0.9 * bound, bound, 1.1 * bound]
    members = [Member(rate) for rate in rates]
    trained = SerialPopulation(program_of(quadratic), members, FixedBatches(quadratic.train), {})
    below, on, above = trained.advance(100).tolist()
    first = curvature / 2
    assert below[-1] == pytest.approx(first * 0.8 ** (2 * 99), rel=1e-3)
    assert on[-1] == pytest.approx(first, rel=1e-3)
    assert above[-1] == pytest.approx(first * 1.2 ** (2 * 99), rel=1e-3)


def test_decay_known_answer() -> None:
    """SGD's weight decay adds decay * w to the gradient; with no loss at all w shrinks by (1 - lr * decay)."""
    flat = quadratic_task(0.0)
    trained = SerialPopulation(program_of(flat), [Member(0.1, 0.5)], FixedBatches(flat.train), {})
    trained.advance(10)
    assert float(trained.export(0)["weight"]) == pytest.approx(0.95**10, rel=1e-6)


class Exploding(nn.Module):
    """Its loss becomes infinite when the weights grow."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3), nn.Dropout(0.1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.layers(inputs)


def test_divergence_disturbs_nobody() -> None:
    """A diverged member is NaN from there on, its parameters stay, and the others are bitwise as without it."""
    task = linear_like()
    good, bad = [Member(0.01, 0, 0), Member(0.02, 0, 1)], Member(1e12, 0, 2)
    together = population(task, [good[0], bad, good[1]])
    without = population(task, good)
    rows, expected = together.advance(STEPS), without.advance(STEPS)
    assert torch.equal(rows[[0, 2]], expected)
    finite = torch.isfinite(rows[1])
    assert 0 < int(finite.sum()) < STEPS
    assert finite.tolist() == sorted(finite.tolist(), reverse=True)
    stopped = together.export(1)
    assert torch.isnan(together.advance(5)[1]).all()
    assert all(equal_with_nan(stopped[key], value) for key, value in together.export(1).items())
    without.advance(5)
    assert torch.equal(together.evaluate("val").loss[[0, 2]], without.evaluate("val").loss)
    assert math.isnan(together.evaluate("val").loss[1])
    assert together.failures == (None, None, None)


def equal_with_nan(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors are the same, NaN included."""
    return bool(torch.allclose(one, other, rtol=0, atol=0, equal_nan=True))


def linear_like() -> lrtune.Task:
    """Squared error on one-hot labels, which a huge rate sends to infinity."""
    return blob_task(
        model=Exploding, loss=lambda output, target: F.mse_loss(output, F.one_hot(target, 3).float())
    )


def test_failure_disturbs_nobody() -> None:
    """A member whose model raises has failed, keeps the exception, and the others go on bitwise as without it."""
    good = [Member(0.01, 0, 0), Member(0.02, 0, 1)]
    together = population(blob_task(model=Choosy), [good[0], Member(1e5, 0, 2), good[1]])
    rows = together.advance(STEPS)
    assert torch.equal(rows[[0, 2]], population(blob_task(model=Choosy), good).advance(STEPS))
    assert [failure is None for failure in together.failures] == [True, False, True]
    assert isinstance(together.failures[1], UserCodeError)
    assert isinstance(together.failures[1].__cause__, ValueError)
    assert math.isnan(together.evaluate("val").loss[1])


def test_all_failing_raises() -> None:
    """Where every member raises, the fault is the user's code and not one member's numbers."""
    with pytest.raises(UserCodeError, match="weights out of bounds"):
        population(blob_task(model=Choosy), [Member(1e5, 0, 0), Member(1e6, 0, 1)]).advance(STEPS)


def ahead(task: lrtune.Task, members: list[Member]) -> SerialPopulation:
    """A population whose losses are read once a block, as on an accelerator."""
    made = population(task, members)
    for slot in made._slots:
        slot._synchronous = False
    return made


@pytest.mark.parametrize("model", [Choosy, Exploding], ids=["failing", "diverging"])
def test_losses_read_once_a_block(model: Callable[[], nn.Module]) -> None:
    """Read a block at a time, the losses before a failure or a divergence are those read one by one."""
    members = [Member(0.01, 0, 0), Member(1e5, 0, 2), Member(1e3, 0, 1)]
    task = blob_task(model=model) if model is Choosy else dataclasses.replace(linear_like(), model=model)
    block, single = ahead(task, members), population(task, members)
    assert equal_with_nan(block.advance(STEPS), single.advance(STEPS))
    assert list(map(str, block.failures)) == list(map(str, single.failures))
    assert [slot.stopped for slot in block._slots] == [slot.stopped for slot in single._slots]
    assert any(slot.stopped for slot in block._slots)


class Asserting(Exploding):
    """Raises at weights that are not finite, as an assertion in user code would."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits of finite weights."""
        if not all(torch.isfinite(parameter).all() for parameter in self.parameters()):
            raise ValueError("weights not finite")
        return super().forward(inputs)


def test_a_failure_after_a_divergence_is_a_divergence() -> None:
    """A step that was taken only because the losses are read later does not count when it raises."""
    task = dataclasses.replace(linear_like(), model=Asserting)
    block = ahead(task, [Member(1e30, 0, 0), Member(0.01, 0, 0)])
    rows = block.advance(STEPS)
    assert block.failures == (None, None)
    assert block._slots[0].stopped
    assert 0 < int(torch.isfinite(rows[0]).sum()) < STEPS


def test_keep_and_export() -> None:
    """Kept members go on bitwise as they would have, in the order asked for; exports are copies."""
    kept, whole = population(blob_task(), MEMBERS), population(blob_task(), MEMBERS)
    kept.advance(10), whole.advance(10)
    kept.keep([3, 1])
    assert kept.members == (MEMBERS[3], MEMBERS[1])
    exported = kept.export(0)
    before = {key: value.clone() for key, value in exported.items()}
    assert torch.equal(kept.advance(10), whole.advance(10)[[3, 1]])
    assert all(torch.equal(exported[key], before[key]) for key in before)
    model = mlp()
    model.load_state_dict(exported)
    kept.keep([])
    assert kept.advance(3).shape == (0, 3)


def test_random_state_is_the_callers() -> None:
    """Building, training and evaluating members moves none of the global generators."""
    state = torch.get_rng_state()
    trained = population(blob_task(model=Noisy), MEMBERS)
    trained.advance(5)
    trained.evaluate("val", training_mode=True)
    assert torch.equal(torch.get_rng_state(), state)


class WithoutRate(torch.optim.Optimizer):
    """An optimizer that finds its rate by itself."""


class Immovable(nn.Linear):
    """A model that cannot be moved."""

    def to(self, *_: Any, **__: Any) -> Any:
        """Fail as an accelerator without memory does."""
        raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        pytest.param(
            {"model": lambda: 3}, TaskError, "expected it to return an nn.Module, got int", id="no module"
        ),
        pytest.param(
            {"model": lambda: Immovable(4, 3)},
            UserCodeError,
            "while moving the model to cpu: out of memory",
            id="model that cannot move",
        ),
        pytest.param({"model": nn.ReLU}, TaskError, "ReLU has no parameters", id="no parameters"),
        pytest.param(
            {"optimizer": lambda m, lr, wd: None},
            TaskError,
            "a torch.optim.Optimizer, got NoneType",
            id="no optimizer",
        ),
        pytest.param(
            {"optimizer": lambda m, lr, wd: WithoutRate(m.parameters(), {})},
            TaskError,
            "WithoutRate has a parameter group without a learning rate",
            id="no learning rate",
        ),
        pytest.param(
            {"optimizer": lambda m, lr, wd: WithoutRate(m.parameters(), {"lr": None})},
            TaskError,
            "WithoutRate has a parameter group without a learning rate",
            id="learning rate None",
        ),
        pytest.param(
            {"loss": lambda o, t: o.sum(1)},
            TaskError,
            "expected a scalar, got a tensor of shape",
            id="vector loss",
        ),
        pytest.param(
            {"loss": lambda o, t: 1.0},
            TaskError,
            "expected it to return a Tensor, got float",
            id="float loss",
        ),
        pytest.param(
            {"loss": lambda o, t: o.sum().detach()},
            TaskError,
            "does not depend on any parameter",
            id="detached",
        ),
        pytest.param(
            {"loss": lambda o, t: o.nothing},
            UserCodeError,
            r"output \[7, 3\] float32, target \[7\] int64",
            id="loss raises",
        ),
        pytest.param(
            {"train": None, "loss": None, "step": lambda m, b: {"x": 1}},
            TaskError,
            "'loss', got the keys 'x'",
            id="step without loss",
        ),
        pytest.param(
            {"loss": None, "step": lambda m, b: 3},
            TaskError,
            "a Tensor or a dict, got int",
            id="step of a number",
        ),
    ],
)
def test_unusable_tasks(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    """What cannot be trained is refused with the field's name and what was found there."""
    with pytest.raises(error, match=message):
        population(blob_task(**{**fields, "train": blobs(90)}), [Member(0.1)]).advance(1)


def test_batches_must_be_pairs() -> None:
    """A loss needs (input, target); a dict batch is told apart and `step` suggested."""
    trained = SerialPopulation(
        program_of(linear_task()), [Member(0.1)], FixedBatches([{"x": torch.ones(1)}]), {}
    )
    with pytest.raises(TaskError, match=r"a dict with the keys 'x'; use Task\.step"):
        trained.advance(1)


SHARED = mlp()


@pytest.mark.parametrize(
    "model",
    [lambda: SHARED, lambda: nn.Sequential(SHARED[0])],
    ids=["module", "layer"],
)
def test_models_must_be_fresh(model: Callable[[], nn.Module]) -> None:
    """A `model` that hands out the same module or parameters at each call is refused."""
    with pytest.raises(TaskError, match="two calls returned the same module"):
        program_of(blob_task(model=model)).check_models_are_fresh()
