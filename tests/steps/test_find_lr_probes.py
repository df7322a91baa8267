"""The constant rates of step 3: what is trained, what is measured, and how many steps it takes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import (
    batches_of,
    blob_task,
    context_of,
    language_task,
    linear_data,
    linear_task,
    mlp,
    quadratic_task,
    trained_alone,
)
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.population.protocol import Member
from lrtune.probes.learning.candidates import SPACING, Candidates
from lrtune.probes.learning.constant_rates import FIRST_STEPS, JUDGED_STEPS, RECENT
from lrtune.steps.find_lr import find_lr
from lrtune.steps.rate_probes import probe

if TYPE_CHECKING:
    import lrtune
    from lrtune.probes.learning.constant_rates import RateProbes

# As one program a training rounds differently, and planning one trains a few steps that are not counted.
SERIAL: dict[str, Any] = {"population": {"execution": "serial"}}
NO_DECAY = {"weight_decay": 0.0}
RATES = [0.03, 0.1, 0.3]


def probed(task: lrtune.Task, rates: list[float], budget: int, **keys: Any) -> RateProbes:
    """What is measured at some rates, from a minibatch loss of 1.1, after sweeps that showed nothing."""
    return probe(context_of(task, **SERIAL, **keys), Candidates(rates, blind=True), 1.1, budget)


def noisy() -> nn.Module:
    """A perceptron that draws random numbers and counts batches."""
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))


def on_a_subset(model: nn.Module, batches: list[Any]) -> float:
    """The mean loss over all examples of some batches, as it is without training."""
    model.eval()
    with torch.no_grad():
        total = sum(F.cross_entropy(model(inputs), target, reduction="sum") for inputs, target in batches)
    return float(total) / sum(len(target) for _, target in batches)


@pytest.mark.parametrize(("seed", "split"), [(0, "train"), (1, "val")])
@pytest.mark.parametrize("make", [mlp, noisy], ids=["plain", "dropout and batch norm"])
def test_probes_are_the_trainings_of_their_rates(make: Any, seed: int, split: str) -> None:
    """Bitwise the losses of a plain loop, though each is measured on the way, and what is measured is a plain loss.

    On the validation data where there are any, else on the training data; and of the last 25 minibatches.
    """
    task = blob_task(model=make) if split == "val" else blob_task(model=make, val=None, metrics={})
    context = context_of(task, batch_size=16, seed=seed, **SERIAL)
    data = {"train": context.data.train, "val": context.data.val}[split]
    for one in probed(task, RATES, 800, batch_size=16, seed=seed).tried:
        member = Member(one.rate, context.config.find_lr.weight_decay, seed)
        stream = context.data.train.stream(seed)
        batches = [next(stream) for _ in one.losses]
        assert one.losses == trained_alone(context.program, member, batches)[0]
        for steps, measured in one.measured.items():
            model = make()
            model.load_state_dict(trained_alone(context.program, member, batches[:steps])[1])
            expected = on_a_subset(model, data.subset(512, context.data.seed))
            recent = sum(one.losses[steps - 25 : steps]) / 25
            assert measured == pytest.approx({split: expected, RECENT: recent}, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_initial_loss_is_that_of_the_untrained_model(split: str) -> None:
    """Before any training, on the same fixed examples; that of the minibatches is as the sweeps saw it."""
    task = blob_task(model=noisy) if split == "val" else blob_task(model=noisy, val=None, metrics={})
    data = context_of(task, batch_size=16).data
    torch.manual_seed(0)
    batches = {"train": data.train, "val": data.val}[split].subset(512, data.seed)
    expected = {split: on_a_subset(noisy(), batches), RECENT: 1.1}
    assert probed(task, RATES, 800, batch_size=16).initial == pytest.approx(expected, rel=1e-6)


def test_the_sweeps_initial_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minibatches' loss before any training: near that of the untrained models of the sweeps' three seeds."""
    taken = []

    def noted(context: Any, candidates: Candidates, initial: float, budget: int) -> RateProbes:
        taken.append(initial)
        return probe(context, candidates, initial, budget)

    monkeypatch.setattr("lrtune.steps.find_lr.probe", noted)
    context = context_of(blob_task(), batch_size=16, **SERIAL)
    find_lr(context)
    untrained = []
    for seed in range(3):
        torch.manual_seed(seed)
        untrained.append(on_a_subset(mlp(), context.data.train.subset(512, 0)))
    assert taken == pytest.approx([sum(untrained) / 3], rel=0.05)


@pytest.mark.parametrize("budget", [375, 475, 800])
@pytest.mark.parametrize("count", [6, 7])
def test_budget(budget: int, count: int) -> None:
    """However many candidates go on or join, no more steps are taken than may be."""
    rates = [0.001 * 10 ** (step / 2) for step in range(count)]
    probes = probed(blob_task(), rates, budget, batch_size=16)
    assert probes.gradient_steps <= budget
    complete = [one for one in probes.tried if one.state == "complete"]
    assert 2 <= len(complete) <= 4
    for one in complete:
        assert list(one.measured) == [FIRST_STEPS, *JUDGED_STEPS]


@pytest.mark.parametrize(
    ("budget", "around"),
    [
        pytest.param(325, [-1, 0], id="two: the best and the one below"),
        pytest.param(399, [-1, 0], id="nearly three"),
        pytest.param(400, [-2, -1, 0], id="three: none above is left"),
        pytest.param(474, [-2, -1, 0], id="nearly four"),
        pytest.param(475, [-3, -2, -1, 0], id="four"),
    ],
)
def test_a_budget_for_few(budget: int, around: list[int]) -> None:
    """Seven candidates take 175 steps, each that goes on 75 more: the best goes on, and its neighbours.

    w is multiplied by `1 - 4 * rate` each step, so that a rate of 0.25, the last but one, is the best; the one
    above explodes within 25 steps, though its loss stays finite.
    """
    rates = [0.25 * SPACING ** (step - 5) for step in range(7)]
    probes = probed(quadratic_task(4.0), rates, budget, optimizer={"name": "sgd"}, find_lr=NO_DECAY)
    went_on = [index for index, one in enumerate(probes.tried) if len(one.losses) > FIRST_STEPS]
    assert went_on == [5 + step for step in around]
    assert probes.gradient_steps <= budget


def small_inputs() -> list[Any]:
    """Batches whose best rates lie above the default maximum."""
    return [(0.01 * inputs, target) for inputs, target in batches_of(linear_data(), 16).in_order()]


TASKS: dict[str, tuple[lrtune.Task, dict[str, Any]]] = {
    "classifier": (blob_task(), {"batch_size": 16}),
    "adam, never diverging": (blob_task(), {"batch_size": 16, "optimizer": {"name": "adam"}}),
    "least squares": (linear_task(), {"batch_size": 64, "optimizer": {"name": "sgd"}}),
    "noisy": (linear_task(train=linear_data(256, noise=3.0)), {"batch_size": 2}),
    "language model": (language_task(), {"optimizer": {"name": "adamw"}}),
    "nothing to learn": (quadratic_task(0.0), {"find_lr": {"weight_decay": 0.0}}),
    "small inputs": (linear_task(train=small_inputs()), {}),
}


PRETRAINED = ["classifier", "adam, never diverging", "least squares", "noisy"]


@pytest.mark.parametrize(
    ("name", "pretrained"),
    [
        *[pytest.param(name, False, id=name) for name in TASKS],
        *[pytest.param(name, True, id=f"{name}, pretrained") for name in PRETRAINED],
        pytest.param("small inputs", True, id="small inputs, pretrained"),
    ],
)
def test_steps(name: str, pretrained: bool) -> None:
    """By default at most 800 gradient steps in all; the number told is that of the losses and steps in the details.

    Of a pretrained model, whose sweeps are longer, there are fewer candidates.
    """
    task, keys = TASKS[name]
    task = dataclasses.replace(task, pretrained=pretrained)
    result = find_lr(context_of(task, **SERIAL, **keys))
    swept = sum(loss is not None for sweep in result.details["sweeps"] for loss in sweep["loss"])
    probed = sum(rate["steps"] for rate in result.details["probes"]["rates"])
    assert result.summary["gradient_steps"] == swept + probed <= 800


@pytest.mark.parametrize("name", ["classifier", "least squares"])
def test_steps_are_those_of_the_optimizer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted where they are taken; a training that diverges takes one more, whose loss is not finite."""
    task, keys = TASKS[name]
    taken = []
    step = torch.optim.SGD.step
    monkeypatch.setattr(torch.optim.SGD, "step", lambda self: taken.append(1) or step(self))
    result = find_lr(context_of(task, **SERIAL, **keys))
    trainings = len(result.details["sweeps"]) + len(result.details["probes"]["rates"])
    assert 0 <= len(taken) - result.summary["gradient_steps"] <= trainings
