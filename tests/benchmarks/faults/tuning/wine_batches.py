"""A perceptron with tanh on wines; the batches are a list made beforehand, the classes are weighted."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn

import lrtune


def load_batches(
    raw_inputs: bool = False, labels: str = "numbers", ordered: bool = False, coarse: bool = False
) -> list[tuple[Tensor, Tensor]]:
    """Load 178 wines of three growers as batches of 24.

    Args:
        raw_inputs: Keeps the columns' own units; proline is near 750, hue near 1.
        labels: `numbers`; `from-one`; `text`, compared with a number and so never equal to it.
        ordered: Keeps the table's order, grower after grower.
        coarse: Keeps the alcohol alone, in whole per cent.
    """
    inputs, growers = map(torch.from_numpy, sklearn.datasets.load_wine(return_X_y=True))
    if coarse:
        inputs = inputs[:, :1].round()
    if not raw_inputs:
        inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0)
    if labels == "from-one":
        growers = growers + 1
    elif labels == "text":
        growers = torch.tensor([int(str(grower) == 2) for grower in growers.tolist()])
    generator = torch.Generator().manual_seed(10)
    order = torch.arange(len(inputs)) if ordered else torch.randperm(len(inputs), generator=generator)
    return list(zip(inputs[order].float().split(24), growers[order].split(24), strict=True))


def make_perceptron(columns: int, deviation: float | None = None) -> nn.Sequential:
    """Build a network from `[batch, columns]` to logits `[batch, 3]`.

    Args:
        columns: Measurements.
        deviation: Of the hidden layers' weights; None for Xavier's rule.
    """
    model = nn.Sequential(nn.Linear(columns, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 3))
    for layer in (model[0], model[2]):
        if deviation is None:
            nn.init.xavier_uniform_(layer.weight, gain=nn.init.calculate_gain("tanh"))
        else:
            nn.init.normal_(layer.weight, std=deviation)
    return model


def weighted_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the cross entropy, each grower weighted by how few of the 178 wines are his."""
    weight = 178 / 3 / torch.tensor([59.0, 71.0, 48.0], device=output.device)
    return nn.functional.cross_entropy(output, target, weight=weight)


def negative_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the log likelihood, as if it were to be minimised."""
    return -weighted_loss(output, target)


def make_task(deviation: float | None = None, negative: bool = False, **table: bool | str) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    batches = load_batches(**table)
    columns = batches[0][0].shape[1]
    return lrtune.Task(
        model=lambda: make_perceptron(columns, deviation),
        train=batches,
        loss=negative_loss if negative else weighted_loss,
    )


CASE = Case(
    name="wine-batches",
    healthy=make_task,
    faults=(
        Fault(
            "measurements in their own units",
            ("input-not-normalised",),
            functools.partial(make_task, raw_inputs=True),
        ),
        Fault(
            "growers counted from one",
            ("target-out-of-range",),
            functools.partial(make_task, labels="from-one"),
        ),
        Fault(
            "text compared with a number: all labels are 0",
            ("constant-target",),
            functools.partial(make_task, labels="text"),
        ),
        Fault(
            "batches cut from the table as it is sorted",
            ("unshuffled-batches",),
            functools.partial(make_task, ordered=True),
        ),
        Fault(
            "one column, rounded to whole numbers",
            ("conflicting-labels",),
            functools.partial(make_task, coarse=True),
        ),
        Fault(
            "weights drawn with deviation 3 before a tanh",
            ("saturated-units",),
            functools.partial(make_task, deviation=3.0),
        ),
        Fault(
            "the sign of the loss turned",
            ("initial-loss-low",),
            functools.partial(make_task, negative=True),
        ),
    ),
)
