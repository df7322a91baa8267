from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from layer_families import Autocast
from programs import CPU, accuracy, batches_of, blob_task, blobs, language_task, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.data.batches import FixedBatches
from lrtune.data.resident import ResidentBatches
from lrtune.population.fused.equivalence import why_not_fused
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.fused.stack import CannotFuseError
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent

if TYPE_CHECKING:
    import lrtune

STEPS = 60
MEMBERS = [Member(10.0**-exponent, 0.1 * seed, seed) for seed, exponent in enumerate((1.5, 2, 2.5, 3))]
CLOSE = {"rtol": 1e-6, "atol": 1e-9}  # in float64 after the steps here
CLOSE_SINGLE = {"rtol": 1e-3, "atol": 1e-4}  # in float32


class Double(nn.Module):
    """The inputs in float64."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return them."""
        return inputs.double()


def classifier() -> nn.Module:
    """A perceptron in float64; a bias before its batch norm would make steps of rounding errors under Adam."""
    layers = nn.Sequential(nn.Linear(4, 12, bias=False), nn.BatchNorm1d(12), nn.Tanh(), nn.Linear(12, 3))
    return nn.Sequential(Double(), layers.double())


def populations(
    task: lrtune.Task, members: list[Member], traced: bool = True, **optimizer: Any
) -> tuple[SerialPopulation, FusedPopulation]:
    """The same members in both executions; the last batch of an epoch is shorter."""
    program = program_of(task, **optimizer)
    train = ResidentBatches(blobs(90), 8, CPU, Silent())
    splits = {"val": batches_of(blobs(50, seed=1), 16)}
    return (
        SerialPopulation(program, members, train, splits),
        FusedPopulation(program, members, train, splits, traced),
    )


def assert_alike(
    alone: SerialPopulation, together: FusedPopulation, close: dict[str, float] = CLOSE_SINGLE
) -> None:
    """Both measure and export the same."""
    for training_mode in (False, True):
        wanted, found = (one.evaluate("val", training_mode) for one in (alone, together))
        torch.testing.assert_close(found.loss, wanted.loss, equal_nan=True, **close)
        assert found.metrics.keys() == wanted.metrics.keys()
        for name, metric in wanted.metrics.items():
            torch.testing.assert_close(found.metrics[name], metric, equal_nan=True, **close)
    for member in range(len(alone.members)):
        wanted_state, found_state = alone.export(member), together.export(member)
        assert list(wanted_state) == list(found_state)
        for key, value in wanted_state.items():
            torch.testing.assert_close(found_state[key], value, equal_nan=True, **close)


def grouped(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """An optimizer of the user's own, with a rate a group."""
    parameters = list(model.parameters())
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], "lr": lr / 3, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay)


@pytest.mark.parametrize("traced", [True, False], ids=["tape", "plain"])
@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "SGD"},
        {"name": "SGD", "momentum": 0.9, "nesterov": True},
        {"name": "Adam"},
        {"name": "AdamW"},
        {"name": "RMSprop"},
        {"name": "Adagrad"},
        {"name": "NAdam"},
    ],
    ids=lambda keywords: "-".join(map(str, keywords.values())),
)
def test_trains_as_alone(optimizer: dict[str, Any], traced: bool) -> None:
    """Losses, evaluations and states are those of the serial execution, over several epochs."""
    alone, together = populations(blob_task(model=classifier), MEMBERS, traced, **optimizer)
    for steps in (1, 20, STEPS - 21):
        torch.testing.assert_close(together.advance(steps), alone.advance(steps), **CLOSE)
        assert_alike(alone, together, CLOSE)


def test_own_optimizer_with_groups() -> None:
    """A user's optimizer with groups trains as alone, also while a schedule moves the rates."""
    schedule = tuple(1e-3 * 1.05**step for step in range(40))
    members = [*MEMBERS[:2], Member(1e-3, 0.1, 5, schedule=schedule)]
    alone, together = populations(blob_task(model=classifier, optimizer=grouped), members)
    torch.testing.assert_close(together.advance(STEPS), alone.advance(STEPS), **CLOSE)
    assert_alike(alone, together, CLOSE)


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
def test_keep_in_the_middle(optimizer: str) -> None:
    """Those that are kept train on as if nothing had happened, in the order asked for."""
    alone, together = populations(blob_task(model=classifier), MEMBERS, name=optimizer)
    for one in (alone, together):
        one.advance(STEPS // 2)
        one.keep([3, 1])
    assert together.members == alone.members == (MEMBERS[3], MEMBERS[1])
    torch.testing.assert_close(together.advance(STEPS), alone.advance(STEPS), **CLOSE)
    assert_alike(alone, together, CLOSE)
    together.keep([])
    assert together.members == ()


def test_sweep_with_schedules_and_orders() -> None:
    """Members with rising rates and batches of their own are as alone until they diverge, and at the same step."""
    schedule = tuple(1e-4 * 1.25**step for step in range(STEPS))
    members = [Member(1e-4, 0.0, seed, order=seed, schedule=schedule) for seed in range(3)]
    alone, together = populations(blob_task(), members, name="SGD")
    torch.testing.assert_close(together.advance(STEPS)[:, :45], alone.advance(STEPS)[:, :45], **CLOSE_SINGLE)


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_divergence_disturbs_nobody(optimizer: str) -> None:
    """The rows beside a member that diverges are bit for bit those beside one that does not."""
    healthy = [MEMBERS[0], Member(1e-3, 0.0, 9), MEMBERS[2]]
    diverging = [MEMBERS[0], Member(1e30, 0.0, 9), MEMBERS[2]]

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))

    runs = [
        populations(blob_task(model=model), members, name=optimizer)[1] for members in (healthy, diverging)
    ]
    one, other = (run.advance(STEPS) for run in runs)
    assert torch.equal(one[[0, 2]], other[[0, 2]])
    assert other[1].isnan().any()
    first = int(other[1].isnan().nonzero()[0])
    assert bool(other[1, first:].isnan().all())
    states = [[run.export(member) for member in (0, 2)] for run in runs]
    for wanted, found in zip(*states, strict=True):
        assert all(torch.equal(wanted[key], found[key]) for key in wanted)
    measured = runs[1].evaluate("val")
    assert math.isnan(measured.loss[1])
    assert measured.metrics["accuracy"].isnan().tolist() == [False, True, False]


def test_step_with_metrics() -> None:
    """What a step returns besides its loss is measured, as are the task's metrics on its output."""

    def step(model: nn.Module, batch: Any) -> dict[str, Any]:
        output = model(batch[0])
        loss = F.cross_entropy(output, batch[1])
        return {"loss": loss, "output": output, "target": batch[1], "norm": output.detach().norm()}

    alone, together = populations(
        blob_task(model=classifier, loss=None, step=step, metrics={"accuracy": accuracy}), MEMBERS
    )
    alone.advance(5), together.advance(5)
    assert together.evaluate("val").metrics.keys() == {"accuracy", "norm"}
    assert_alike(alone, together)


def test_metrics_of_a_tuple() -> None:
    """Metrics see outputs that are nests of tensors."""

    class Two(nn.Linear):
        def forward(self, inputs: Tensor) -> Any:
            return {"logits": super().forward(inputs), "parts": (inputs,)}

    task = blob_task(
        model=lambda: Two(4, 3),
        loss=lambda output, target: F.cross_entropy(output["logits"], target),
        metrics={"mean": lambda output, target: output["logits"].mean() + output["parts"][0].mean()},
    )
    alone, together = populations(task, MEMBERS)
    assert_alike(alone, together)
    assert "mean" in together.evaluate("val").metrics


def test_dict_batches() -> None:
    """A language model's batches of two entries are trained on as alone."""
    task = language_task()
    program = program_of(task, name="AdamW")
    train = FixedBatches(task.train)
    assert why_not_fused(program, MEMBERS, train) is None
    both = [kind(program, MEMBERS, train, {"val": train}) for kind in (SerialPopulation, FusedPopulation)]
    alone, together = (one.advance(20) for one in both)
    torch.testing.assert_close(together, alone, **CLOSE_SINGLE)


def test_dropout_differs_between_members() -> None:
    """Members of one seed draw different numbers, and their mean loss is near that of the serial execution."""

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5), nn.Linear(32, 3))

    members = [Member(1e-3)] * 3
    alone, together = populations(blob_task(model=model), members)
    found, wanted = together.advance(40), alone.advance(40)
    assert not torch.equal(found[0], found[1])
    assert abs(float(found.mean() - wanted.mean())) < 0.05
    state = torch.get_rng_state()
    together.advance(2), together.evaluate("val", training_mode=True)
    assert torch.equal(torch.get_rng_state(), state)


def test_tied_weights_are_exported_under_both_names() -> None:
    """The state of tied layers is the member's own at each name."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            self.other.weight = self.one.weight

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.other(self.one(inputs).tanh()))

    _, together = populations(blob_task(model=Tied), MEMBERS)
    together.advance(5)
    state = together.export(0)
    assert torch.equal(state["one.weight"], state["other.weight"])
    model = Tied()
    model.load_state_dict(dict(state))


def test_buffers_of_an_evaluation_move_on_and_come_back() -> None:
    """In training mode an evaluation's batches see the buffers of those before, and training does not."""

    class Running(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 3)
            self.register_buffer("mean", torch.zeros(3))

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = super().forward(inputs)
            self.mean.mul_(0.5).add_(0.5 * hidden.detach().mean(0))
            return hidden - self.mean

    alone, together = populations(blob_task(model=Running), MEMBERS)
    for _ in range(2):
        torch.testing.assert_close(together.advance(5), alone.advance(5), **CLOSE_SINGLE)
        assert_alike(alone, together)


def test_different_models_cannot_be_stacked() -> None:
    """Members whose models differ in shape are refused."""
    sizes = iter([4, 5, 4, 5, 4, 5])
    task = blob_task(model=lambda: nn.Sequential(nn.Linear(4, size := next(sizes)), nn.Linear(size, 3)))
    with pytest.raises(CannotFuseError, match="differ in the names, shapes or types"):
        FusedPopulation(program_of(task), MEMBERS[:2], batches_of(blobs(40), 8), {})


def test_autocast_is_refused() -> None:
    """Autocast rounds otherwise over rows; its difference is told, not decided in float64, which it leaves alone."""
    task = blob_task(model=Autocast, loss=F.cross_entropy)
    assert "differs by" in str(why_not_fused(program_of(task), MEMBERS, batches_of(blobs(40), 8)))
