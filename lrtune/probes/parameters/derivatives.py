"""The gradient of one custom function against finite differences, number by number.

For outputs f(x), random weights u and a number x_i of an input, the backward pass claims d(u·f)/dx_i. The forward pass
says u·(f(x + h e_i) - f(x - h e_i)) / 2h. Where the differences to the left and to the right disagree there is a kink,
a jump or rounding, and nothing is claimed; where they are zero the function is flat, and any gradient is a choice
(straight-through estimators: Bengio, Léonard and Courville, arXiv 1308.3432, 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

_NUMBERS = 16  # with the largest gradients, and as many random ones
_STEP = 1e-5  # relative; differences are then exact to about 1e-9 in double precision
_LEAST_STEP = 1e-3  # of the inputs' size: the step of numbers near zero
_AGREEMENT = 1e-3  # of left and right; their distance is the curvature times the step, about 1e-5
_FLAT = 1e-7  # of the largest derivative seen: nothing but rounding


@dataclass(frozen=True)
class Compared:
    """Derivatives with respect to some numbers of an input.

    Attributes:
        numbers: How many were compared: where the function has a slope.
        errors: Relative error of each, |claimed - true| / max(|claimed|, |true|).
        ratio: Median of claimed / true.
    """

    numbers: int
    errors: list[float]
    ratio: float


def compared(
    kind: type[torch.autograd.Function], arguments: tuple[Any, ...], place: int, seed: int
) -> Compared | None:
    """Compare a function's gradient with respect to one argument.

    Args:
        kind: The function.
        arguments: Of `apply`.
        place: Which of them, a floating-point tensor.
        seed: Of the weights and of what the function itself draws.

    Returns:
        None where nothing can be said: the function refuses double precision, is random, hands its input on unchanged
        (then altering the gradient is its purpose), is flat, or returns no gradient for this argument.
    """
    function = _Alone(kind, arguments, place, seed)
    try:
        return function.compared()
    except Exception:  # kernels for single precision alone, shapes that depend on values, and the like
        return None


class _Alone:
    """A function by itself, in double precision."""

    def __init__(self, kind: Any, arguments: tuple[Any, ...], place: int, seed: int) -> None:
        self._kind, self._place, self._seed = kind, place, seed
        self._arguments = tuple(_double(one) for one in arguments)
        self._point = self._arguments[place].detach().contiguous()
        self._weights: list[torch.Tensor | None] = []

    def compared(self) -> Compared | None:
        if not self._point.is_floating_point():
            return None
        claimed = self._claimed()
        if claimed is None or not torch.isfinite(claimed).all():
            return None
        middle = self._outputs(self._point)
        if any(
            not torch.equal(one, other) for one, other in zip(middle, self._outputs(self._point), strict=True)
        ):
            return None
        if len(middle) == 1 and torch.equal(middle[0].flatten(), self._point.flatten()):
            return None
        pairs = [pair for i in self._chosen(claimed) if (pair := self._pair(i, claimed, middle)) is not None]
        return _summary(pairs)

    def _call(self, point: torch.Tensor) -> list[Any]:
        arguments = [one.clone() if isinstance(one, torch.Tensor) else one for one in self._arguments]
        arguments[self._place] = point
        torch.manual_seed(self._seed)
        returned = self._kind.apply(*arguments)
        return list(returned) if isinstance(returned, tuple) else [returned]

    def _claimed(self) -> torch.Tensor | None:
        """Return what the backward pass says, and draw the weights of the outputs that it knows."""
        leaf = self._point.clone().requires_grad_()
        with torch.enable_grad():
            outputs = self._call(leaf.view_as(leaf))  # not the leaf: functions may work in place
        self._weights = [
            _weights(one) if isinstance(one, torch.Tensor) and one.requires_grad else None for one in outputs
        ]
        kept = [
            (one, weight) for one, weight in zip(outputs, self._weights, strict=True) if weight is not None
        ]
        if not kept:
            return None
        known, weights = [one for one, _ in kept], [weight for _, weight in kept]
        claimed: torch.Tensor | None = torch.autograd.grad(known, leaf, weights, allow_unused=True)[0]
        return claimed

    def _outputs(self, point: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad():
            outputs = self._call(point.clone())
        pairs = zip(outputs, self._weights, strict=True)
        return [one.detach().double() for one, weight in pairs if weight is not None]

    def _chosen(self, claimed: torch.Tensor) -> list[int]:
        flat = claimed.flatten().abs()
        generator = torch.Generator().manual_seed(self._seed)
        largest = flat.topk(min(_NUMBERS, flat.numel())).indices.tolist()
        return list(
            dict.fromkeys(largest + torch.randperm(flat.numel(), generator=generator)[:_NUMBERS].tolist())
        )

    def _pair(
        self, index: int, claimed: torch.Tensor, middle: list[torch.Tensor]
    ) -> tuple[float, float] | None:
        """Return what is claimed and what is true of one number, None at kinks and jumps."""
        size = float(self._point.square().mean().sqrt()) or 1.0
        step = _STEP * max(abs(float(self._point.flatten()[index])), _LEAST_STEP * size)
        right, left = (self._slope(index, sign * step, middle) for sign in (1, -1))
        if abs(right - left) > _AGREEMENT * max(abs(right), abs(left)):
            return None
        return float(claimed.flatten()[index]), (right + left) / 2

    def _slope(self, index: int, step: float, middle: list[torch.Tensor]) -> float:
        point = self._point.clone()
        point.view(-1)[index] += step
        moved = float(point.view(-1)[index] - self._point.flatten()[index])
        weights = [weight for weight in self._weights if weight is not None]
        parts = zip(self._outputs(point), middle, weights, strict=True)
        return sum(float(((there - here) * weight).sum()) for there, here, weight in parts) / moved


def _weights(output: torch.Tensor) -> torch.Tensor:
    # A loss may count on its own gradient being 1.
    return torch.ones_like(output) if output.numel() == 1 else torch.randn_like(output)


def _double(argument: Any) -> Any:
    if isinstance(argument, torch.Tensor) and argument.is_floating_point():
        return (
            argument.detach().cpu().double() if argument.device.type == "mps" else argument.detach().double()
        )
    return argument


def _summary(pairs: list[tuple[float, float]]) -> Compared | None:
    largest = max((max(abs(claimed), abs(true)) for claimed, true in pairs), default=0.0)
    sloped = [(claimed, true) for claimed, true in pairs if abs(true) > _FLAT * largest]
    if not sloped:
        return None
    errors = [abs(claimed - true) / max(abs(claimed), abs(true)) for claimed, true in sloped]
    ratios = sorted(claimed / true for claimed, true in sloped)
    return Compared(len(sloped), errors, ratios[len(ratios) // 2])
