from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import generator
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.population.forward import Outcome
from lrtune.probes.losses.inferred_labels import with_labels

LABELS = torch.randint(0, 7, (6, 5), generator=generator(0))


def outcome_of(loss: Any, seed: int, last: bool) -> Outcome:
    """A loss of logits `[6, 5, 7]`, or `[6, 7, 5]`, and of LABELS."""
    logits = torch.randn(6, 5, 7, generator=generator(seed))
    output = (logits if last else logits.movedim(-1, 1)).clone().requires_grad_()
    return Outcome(loss(output if last else output.movedim(1, -1)), output)


def mean(logits: Tensor) -> Tensor:
    """Plain cross-entropy."""
    return F.cross_entropy(logits.flatten(0, 1), LABELS.flatten())


def masked(logits: Tensor) -> Tensor:
    """The same without label 0."""
    return F.cross_entropy(logits.flatten(0, 1), LABELS.flatten(), ignore_index=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("last", [True, False], ids=["classes last", "classes in dimension 1"])
@pytest.mark.parametrize("loss", [mean, masked])
def test_labels_are_those_of_the_loss(loss: Any, last: bool, seed: int) -> None:
    """Each label that counts is found; what is left out is -1. The number stays the same."""
    outcome = outcome_of(loss, seed, last)
    told = with_labels(outcome)
    assert told is not None
    wanted = LABELS if loss is mean else LABELS.where(LABELS != 0, -1)
    assert torch.equal(told.target, wanted)
    assert float(told.scalar.detach()) == pytest.approx(float(outcome.scalar.detach()), rel=1e-6)


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits: mean(logits) + 1.0,
        lambda logits: mean(logits) + logits.square().mean(),
        lambda logits: logits.square().mean(),
        lambda logits: mean(logits) + mean(logits.tanh()),
        lambda logits: F.multi_margin_loss(logits.flatten(0, 1), LABELS.flatten()),
    ],
    ids=["another part", "a penalty", "no cross-entropy", "two", "a margin"],
)
@pytest.mark.parametrize("seed", range(3))
def test_other_losses_have_none(loss: Any, seed: int) -> None:
    """A sum of a cross-entropy and something else is not taken for a cross-entropy."""
    assert with_labels(outcome_of(loss, seed, True)) is None
