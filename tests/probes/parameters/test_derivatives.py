from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import generator
from torch import Tensor
from torch.autograd import Function

from lrtune.probes.parameters.derivatives import compared

INPUTS = torch.randn(5, 7, generator=generator(0)).requires_grad_()


class Scaled(Function):
    """x², whose backward pass is right up to a factor."""

    factor = 1.0

    @staticmethod
    def forward(inputs: Tensor) -> Tensor:
        """Return the square."""
        return inputs * inputs

    @staticmethod
    def setup_context(context: Any, inputs: Any, output: Tensor) -> None:
        """Save the input."""
        context.save_for_backward(*inputs)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the derivative times the factor."""
        (inputs,) = context.saved_tensors
        return 2 * Scaled.factor * inputs * gradient


@pytest.mark.parametrize("factor", [1.0, 0.5, -1.0, 3.0])
def test_a_factor_is_measured(factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ratio is the factor and the error |f - 1| / max(|f|, 1), to eight digits, at 32 numbers."""
    monkeypatch.setattr(Scaled, "factor", factor)
    seen = compared(Scaled, (INPUTS,), 0, 0)
    assert seen is not None
    assert seen.ratio == pytest.approx(factor, rel=1e-8)
    assert seen.errors == pytest.approx([abs(factor - 1) / max(abs(factor), 1)] * seen.numbers, abs=1e-8)
    assert 16 <= seen.numbers <= 32


def function(forward: Any, backward: Any) -> type[Function]:
    """A function of one tensor."""

    class Made(Function):
        @staticmethod
        def forward(context: Any, inputs: Tensor) -> Any:
            context.save_for_backward(inputs)
            return forward(inputs)

        @staticmethod
        def backward(context: Any, *gradients: Any) -> Any:
            return backward(gradients[0], *context.saved_tensors)

    return Made


def refusing(inputs: Tensor) -> Tensor:
    """Raise on double precision, as kernels do."""
    if inputs.dtype == torch.float64:
        raise RuntimeError("expected scalar type Float")
    return inputs.exp()


@pytest.mark.parametrize(
    ("forward", "backward"),
    [
        pytest.param(refusing, lambda g, x: g, id="refuses double precision"),
        pytest.param(lambda x: x.sign(), lambda g, x: g, id="flat"),
        pytest.param(lambda x: x.round(), lambda g, x: g, id="jumps"),
        pytest.param(lambda x: x.view_as(x), lambda g, x: -g, id="identity"),
        pytest.param(lambda x: x * torch.rand(()), lambda g, x: None, id="no gradient by choice"),
        pytest.param(lambda x: x.argmax(1), lambda g, x: None, id="integers"),
    ],
)
def test_nothing_is_claimed(forward: Any, backward: Any) -> None:
    """Where a comparison says nothing about a mistake there is none."""
    assert compared(function(forward, backward), (INPUTS,), 0, 0) is None


def test_kinks_are_left_out() -> None:
    """At zero the two sides of a ReLU disagree: nothing is said there."""
    relu = function(lambda x: x.clamp(min=0), lambda g, x: g * (x > 0))
    assert compared(relu, (torch.zeros(4, 4, requires_grad=True),), 0, 0) is None


def test_a_scalar_loss_may_ignore_its_gradient() -> None:
    """A loss that returns its own gradient whatever comes in is right where it is used as the loss."""
    loss = function(lambda x: x.square().sum(), lambda g, x: 2 * x)
    seen = compared(loss, (INPUTS,), 0, 0)
    assert seen is not None
    assert max(seen.errors) < 1e-6
