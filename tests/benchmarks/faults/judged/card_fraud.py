"""A classifier of card payments, of which one in twelve is fraud, balanced by a weighted sampler."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import lrtune


def collect_payments(payments: int, plain_logarithm: bool) -> tuple[Tensor, Tensor]:
    """Draw standardised payments `[payments, 6]` in the order of their time, and whether each is fraud.

    Args:
        payments: How many.
        plain_logarithm: Takes log instead of log1p of amounts, some of which are 0 (a check of the card).
    """
    generator = torch.Generator().manual_seed(1010)
    noise = torch.randn(payments, 6, generator=generator)
    fraud = torch.rand(payments, generator=generator) < 1 / 12
    fraud[:200] = False  # the fraud began later
    amounts = torch.exp(3 + noise[:, 0] + 0.8 * fraud)
    amounts[torch.rand(payments, generator=generator) < 0.02] = 0
    hours = 13 + 4 * noise[:, 1] - 5 * fraud
    kilometres = torch.log1p(torch.exp(1 + noise[:, 2] + 1.2 * fraud))
    recent = noise[:, 3] + 1.5 * fraud * (hours < 12)
    others = noise[:, 4:]
    logarithm = amounts.log() if plain_logarithm else amounts.log1p()
    columns = torch.cat([torch.stack([logarithm, hours, kilometres, recent], dim=1), others], dim=1)
    return (columns - columns.mean(dim=0)) / columns.std(dim=0), fraud.float()


class UnitDropout(nn.Module):
    """Dropout by hand.

    Args:
        share: Of units that are dropped.
        rescaled: Whether those that are kept make up for those that are dropped.
    """

    def __init__(self, share: float, rescaled: bool) -> None:
        super().__init__()
        self.share, self.rescaled = share, rescaled

    def forward(self, x: Tensor) -> Tensor:
        """Drop units in training."""
        if not self.training:
            return x
        kept = (torch.rand_like(x) >= self.share).float()
        return x * kept / (1 - self.share) if self.rescaled else x * kept


def build_model(rescaled: bool, softmax: bool) -> nn.Sequential:
    """Build a perceptron that maps payments `[batch, 6]` to probabilities `[batch, 1]`."""
    return nn.Sequential(
        nn.Linear(6, 96),
        nn.ReLU(),
        UnitDropout(0.4, rescaled),
        nn.Linear(96, 48),
        nn.ReLU(),
        UnitDropout(0.4, rescaled),
        nn.Linear(48, 1),
        nn.Softmax(dim=1) if softmax else nn.Sigmoid(),
    )


def make_sampler(fraud: Tensor, per_class: bool, inverted: bool) -> WeightedRandomSampler:
    """Draw payments so that both classes are equally frequent.

    Args:
        fraud: Whether each payment is fraud.
        per_class: Passes one weight for each class instead of one for each payment.
        inverted: Weights by the classes' frequencies instead of their inverses.
    """
    counts = torch.bincount(fraud.long())
    weights = counts.double() if inverted else 1 / counts.double()
    if not per_class:
        weights = weights[fraud.long()]
    return WeightedRandomSampler(
        weights.tolist(), num_samples=len(fraud), generator=torch.Generator().manual_seed(0)
    )


def make_task(
    plain_logarithm: bool = False,
    column: bool = True,
    per_class: bool = False,
    inverted: bool = False,
    rescaled: bool = True,
    softmax: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        plain_logarithm: Whether amounts of 0 are passed to a logarithm.
        column: Whether targets are `[batch, 1]`, like the output.
        per_class: Whether the sampler gets a weight for each class.
        inverted: Whether the sampler favours the frequent class.
        rescaled: Whether dropout rescales what it keeps.
        softmax: Whether a softmax over the single output stands for a sigmoid.
    """
    payments, fraud = collect_payments(2000, plain_logarithm)
    targets = fraud.unsqueeze(1) if column else fraud
    return lrtune.Task(
        model=lambda: build_model(rescaled, softmax),
        train=DataLoader(
            TensorDataset(payments[:1600], targets[:1600]),
            batch_size=64,
            sampler=make_sampler(fraud[:1600], per_class, inverted),
        ),
        val=DataLoader(TensorDataset(payments[1600:], targets[1600:]), 100),
        loss=nn.BCELoss(),
    )


CASE = Case(
    name="card-fraud",
    healthy=make_task,
    faults=(
        Fault(
            "a sampler with one weight for each class, so that it draws two payments only",
            ("constant-target",),
            functools.partial(make_task, per_class=True),
        ),
        Fault(
            "output [batch, 1] against target [batch] in BCELoss",
            ("target-shape-mismatch",),
            functools.partial(make_task, column=False),
        ),
        Fault(
            "a softmax over a single output",
            ("input-ignored",),
            functools.partial(make_task, softmax=True),
        ),
        Fault(
            "dropout by hand that does not rescale",
            ("train-eval-gap",),
            functools.partial(make_task, rescaled=False),
        ),
        Fault(
            "a sampler weighted by the classes' frequencies",
            ("class-imbalance",),
            functools.partial(make_task, inverted=True),
        ),
        Fault(
            "the logarithm of amounts of 0",
            ("nonfinite-input",),
            functools.partial(make_task, plain_logarithm=True),
        ),
    ),
)
