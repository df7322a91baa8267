from __future__ import annotations

from typing import Any

import pytest

from lrtune.checks import gradients, parameters
from lrtune.probes.initialisation import Gradients
from lrtune.probes.parameters.custom_gradients import FunctionGradient
from lrtune.probes.parameters.derivatives import Compared
from lrtune.probes.parameters.optimizer_steps import OptimizerSteps
from lrtune.probes.parameters.symmetry import EqualUnits, Symmetry
from lrtune.probes.parameters.unregistered import Unregistered


def test_unregistered_parameter() -> None:
    """Count, paths and the cure of each place are told."""
    assert parameters.unregistered_parameter(Unregistered()) is None
    assert parameters.unregistered_parameter(Unregistered(of_loss=["L.w"])) is None
    seen = Unregistered(["a[0].weight", "b"], [("a", "list", True), ("b", "tensor", False)], ["[3]"], [], 9)
    found = parameters.unregistered_parameter(seen)
    assert found.measured == 3
    assert "a[0].weight, b, in the plain list `a`, the plain tensor `b`; and nn.Parameter" in found.message
    assert found.fix.startswith("Put `a` into nn.ModuleList, make `b` an nn.Parameter")


def test_parameters_of_a_loss() -> None:
    """They are told under the optimizer's code."""
    assert parameters.loss_parameter_not_in_optimizer(Unregistered(["a"])) is None
    found = parameters.loss_parameter_not_in_optimizer(Unregistered(of_loss=["Centres.weight"]))
    assert found.code == "parameter-not-in-optimizer"
    assert "1 parameter of its own that the optimizer lacks: Centres.weight." in found.message


def test_parameter_not_in_optimizer() -> None:
    """Some and all are told apart."""
    assert parameters.parameter_not_in_optimizer(OptimizerSteps("SGD", 4, 4, 0, moving=4)) is None
    some = parameters.parameter_not_in_optimizer(OptimizerSteps("SGD", 4, 3, 0, ["a"], moving=3))
    assert "1 of 4 trainable parameters have a gradient and are in no group of the SGD: a." in some.message
    none = parameters.parameter_not_in_optimizer(OptimizerSteps("SGD", 4, 0, 4, ["a", "b"]))
    assert "holds none of the model's 4 trainable parameters but 4 other tensors" in none.message


def test_optimizer_does_not_step() -> None:
    """Rate and forward pass are named where they are the reason."""
    assert parameters.optimizer_does_not_step(OptimizerSteps("SGD", 2, 2, 0, moving=2)) is None
    plain = parameters.optimizer_does_not_step(OptimizerSteps("SGD", 2, 2, 0, still=["a"], moving=1))
    assert plain.message.startswith("1 of 2 parameters do not move in three steps of SGD")
    rate = parameters.optimizer_does_not_step(OptimizerSteps("SGD", 2, 2, 0, still=["a"], groups=[(0, 0.0)]))
    assert "None of the parameters moves" in rate.message
    assert rate.fix.startswith("Give group 0 the learning rate")
    back = parameters.optimizer_does_not_step(
        OptimizerSteps("SGD", 2, 2, 0, still=["a"], replaced=["a"], moving=1)
    )
    assert "in place of a" in back.message


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(EqualUnits("w", 8, 0.5, True, False, 0.9), True, id="a constant layer, at once"),
        pytest.param(EqualUnits("w", 8, 0.5, True, True, 0.9), False, id="the last layer"),
        pytest.param(EqualUnits("w", 8, 0.0, True, False, 0.4), False, id="zeros that come apart"),
        pytest.param(EqualUnits("w", 8, 0.0, True, False, 6e-7), True, id="zeros that stay equal"),
        pytest.param(EqualUnits("w", 8, 0.0, True, False, None), False, id="zeros out of the loss"),
        pytest.param(EqualUnits("w", 8, 0.5, False, False, 0.9), False, id="own matrix that comes apart"),
        pytest.param(EqualUnits("w", 8, 0.5, False, False, 0.0), True, id="own matrix that stays equal"),
    ],
)
def test_symmetric_init(one: EqualUnits, expected: bool) -> None:
    """Constants are faults at once, zeros and own matrices when training does not tell their units apart."""
    found = parameters.symmetric_init(Symmetry([one], 4))
    assert (found is not None) is expected
    assert parameters.symmetric_init(Symmetry()) is None


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        pytest.param([1e-9] * 30, None, id="right"),
        pytest.param([0.02] * 30, None, id="approximated"),
        pytest.param([0.01] * 28 + [0.2] * 4, None, id="approximated, worse in the tail"),
        pytest.param([1e-9] * 30 + [1.0], None, id="one number of many"),
        pytest.param([0.5] * 32, "0.5 times the finite difference at each of 32", id="factor"),
        pytest.param(
            [1e-9] * 24 + [0.9] * 8, "8 of 32 numbers differ from finite differences, by 90%", id="branch"
        ),
        pytest.param([0.06 + i / 100 for i in range(32)], "32 of 32 numbers", id="all"),
    ],
)
def test_wrong_gradient(errors: list[float], told: str | None) -> None:
    """A median beyond approximations, or a branch that is wrong, is told with how it differs."""
    seen: Any = FunctionGradient("Own", 1, Compared(len(errors), errors, 0.5), ["a.weight"])
    found = parameters.wrong_gradient([seen])
    assert (found is None) is (told is None)
    assert told is None or told in found.message
    assert parameters.wrong_gradient([]) is None


def test_a_model_without_parameters() -> None:
    """Nothing registered and everything frozen are told apart."""
    assert "no parameters" in gradients.frozen_model(Gradients(False, 0, 0)).message
    assert "all 9 numbers of the model are frozen" in gradients.frozen_model(Gradients(False, 0, 9)).message
