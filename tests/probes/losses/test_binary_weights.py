from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from programs import generator
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.population.forward import Outcome
from lrtune.probes.losses.binary_weights import answer_reading

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWERS = (torch.rand(30, 4, generator=generator(1)) < 0.4).float()
MASK = (torch.rand(30, 4, generator=generator(2)) < 0.7).float()
TAGS = torch.tensor([1.0, 2.0, 3.0, 4.0])


def each(logits: Tensor, pos_weight: Tensor | None = None) -> Tensor:
    """The loss of every answer."""
    return F.binary_cross_entropy_with_logits(logits, ANSWERS, reduction="none", pos_weight=pos_weight)


LOSSES: dict[str, tuple[Callable[[Tensor], Tensor], Tensor]] = {
    "mean": (lambda z: each(z).mean(), torch.ones(30, 4) / 120),
    "sum": (lambda z: each(z).sum(), torch.ones(30, 4)),
    "probabilities": (lambda z: F.binary_cross_entropy(z.sigmoid(), ANSWERS), torch.ones(30, 4) / 120),
    "masked": (lambda z: (each(z) * MASK).sum() / MASK.sum(), MASK / MASK.sum()),
    "over all": (lambda z: (each(z) * MASK).mean(), MASK / 120),
    "pos_weight": (lambda z: each(z, torch.tensor(3.0)).mean(), (1 + 2 * ANSWERS) / 120),
    "one a tag": (lambda z: each(z, TAGS).mean(), (1 + (TAGS - 1) * ANSWERS) / 120),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("loss", "expected"), LOSSES.values(), ids=LOSSES)
def test_weights_of_answers(loss: Callable[[Tensor], Tensor], expected: Tensor, seed: int) -> None:
    """Each answer has the weight that the loss gave it, whoever masks and averages."""
    logits = torch.randn(30, 4, generator=generator(seed)).requires_grad_()
    seen = answer_reading(Outcome(loss(logits), logits, ANSWERS))
    assert seen is not None
    torch.testing.assert_close(seen.weights.reshape(30, 4), expected, rtol=1e-4, atol=1e-9)


def test_weights_at_probabilities() -> None:
    """Outputs that are probabilities themselves are understood, too."""
    output = torch.rand(30, 4, generator=generator(3)).requires_grad_()
    seen = answer_reading(Outcome(F.binary_cross_entropy(output, ANSWERS), output, ANSWERS))
    assert seen is not None
    torch.testing.assert_close(seen.weights, torch.full((120,), 1 / 120), rtol=1e-4, atol=0)


def _focal(logits: Tensor) -> Tensor:
    return (each(logits) * (1 - (-each(logits)).exp()) ** 2).mean()


@pytest.mark.parametrize("scale", [0.05, 1.0, 3.0])
@pytest.mark.parametrize(
    "loss",
    [
        pytest.param(_focal, id="focal"),
        pytest.param(lambda z: F.mse_loss(z, ANSWERS), id="squared error"),
        pytest.param(lambda z: F.mse_loss(z.sigmoid(), ANSWERS), id="Brier"),
        pytest.param(lambda z: F.soft_margin_loss(2 * z, 2 * ANSWERS - 1), id="of doubled logits"),
        pytest.param(
            lambda z: F.binary_cross_entropy_with_logits(z, 0.9 * ANSWERS + 0.05), id="smoothed answers"
        ),
        pytest.param(lambda z: -each(z).mean(), id="of the wrong sign"),
        pytest.param(lambda z: each(z.detach()).mean(), id="detached"),
        pytest.param(lambda z: F.cross_entropy(z, ANSWERS), id="softmax"),
    ],
)
def test_other_losses_have_no_weights(loss: Callable[[Tensor], Tensor], scale: float) -> None:
    """Nothing is claimed of a gradient that is not a weighted binary cross-entropy's."""
    logits = (scale * torch.randn(30, 4, generator=generator(4))).requires_grad_()
    assert answer_reading(Outcome(loss(logits), logits, ANSWERS)) is None


def test_outputs_that_are_alike_say_nothing() -> None:
    """At equal outputs every loss has the gradient of some weighted cross-entropy."""
    logits = torch.zeros(30, 4, requires_grad=True)
    assert answer_reading(Outcome(each(logits).mean(), logits, ANSWERS)) is None
