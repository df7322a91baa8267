"""The weights of labels as they are read off the loss's gradient at the output."""

from __future__ import annotations

from dataclasses import dataclass

import torch

_NONE = 1e-7  # of the largest weight: a label that does not count


@dataclass(frozen=True)
class Reading:
    """The labels of one batch, in the order of the target.

    Attributes:
        weights: Of each label `[labels]`; 0 where it does not count, NaN where the answer is too certain to tell.
        labels: The classes `[labels]`, -1 where there is none.
        classes: Width of the output, 1 for answers of yes and no.
    """

    weights: torch.Tensor
    labels: torch.Tensor
    classes: int

    @property
    def counts(self) -> torch.Tensor:
        """Which labels have a weight `[labels]`."""
        counted: torch.Tensor = self.weights > _NONE * self.weights.nan_to_num().max()
        return counted


def gradient_at(scalar: torch.Tensor, output: torch.Tensor) -> torch.Tensor | None:
    """Return d loss / d output, None where the output is not what the loss was made of or it is not finite."""
    if not (scalar.requires_grad and output.requires_grad):
        return None
    (gradient,) = torch.autograd.grad(scalar, output, allow_unused=True, retain_graph=True)
    return None if gradient is None or not bool(gradient.isfinite().all()) else gradient
