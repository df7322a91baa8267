"""Checks of what is trained: which parameters are known, which the optimizer moves, and whether units can differ."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.words import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.parameters.custom_gradients import FunctionGradient
    from lrtune.probes.parameters.derivatives import Compared
    from lrtune.probes.parameters.optimizer_steps import OptimizerSteps
    from lrtune.probes.parameters.symmetry import EqualUnits, Symmetry
    from lrtune.probes.parameters.unregistered import Unregistered
    from lrtune.results import Finding

# Measured in 24 programs, two seeds each: units that stay equal differ by 6e-7 of their change or less (rounding),
# units that training tells apart by 0.4 or more.
_LARGEST_DIFFERENCE = 1e-3
# Measured on 20 functions, three seeds each: right backward passes have a median error of 2e-11 in double precision
# (3e-3 where they compute in single precision inside), the usual approximation of GELU 0.02; wrong ones 0.15 or more.
_LARGEST_ERROR = 0.05
# A backward pass may be wrong on one branch only, such as the negative side of a leaky ReLU. Errors of more than 0.3
# had no right function, and no approximation of GELU, at any number; a leaky ReLU with a wrong slope at a fifth.
_LARGEST_SINGLE_ERROR = 0.3
_LARGEST_SHARE = 0.1

_EQUAL_ERRORS = 1e-3  # then one factor is told and not their spread; right ones scatter by 1e-8

_CONTAINERS = {
    "list": ("nn.ModuleList", "nn.ParameterList"),
    "tuple": ("nn.ModuleList", "nn.ParameterList"),
    "set": ("nn.ModuleList", "nn.ParameterList"),
    "dict": ("nn.ModuleDict", "nn.ParameterDict"),
}


def unregistered_parameter(seen: Unregistered) -> Finding | None:
    """Every trainable tensor behind the loss is registered or handed to the optimizer."""
    count = len(seen.paths) + len(seen.elsewhere)
    if not count:
        return _built_anew(seen.anew)
    plural = "s" if count > 1 else ""
    where = ""
    if seen.paths:
        where = f": {listed(seen.paths)}, in " + listed(
            [f"the {_told(kind)} `{p}`" for p, kind, _ in seen.places]
        )
    if seen.elsewhere:
        where += (
            f"{'; and' if where else ':'} nn.Parameter of shape {listed(seen.elsewhere)} outside the model"
        )
    message = (
        f"The loss depends on {count} trainable tensor{plural} that neither the model's parameters() nor the "
        f"optimizer knows{where}."
    )
    fixes = [f"{_remedy(place, kind, modules)}" for place, kind, modules in seen.places]
    if seen.elsewhere:
        fixes.append("make the outer parameter part of the model, or add it to the optimizer")
    return finding("unregistered-parameter", message, count, "0", fix=_sentence(listed(fixes)))


def _built_anew(layers: Sequence[str]) -> Finding | None:
    if not layers:
        return None
    count = len(layers)
    message = (
        f"Every forward pass builds {count} layer{'s' * (count > 1)} anew, with other weights each time, which "
        f"nothing trains: {listed(layers)}."
    )
    fix = "Build the layer once, in __init__, and keep it as an attribute of the module."
    return finding("unregistered-parameter", message, count, "0", fix=fix)


def _told(kind: str) -> str:
    plain = {"list", "tuple", "dict", "set", "tensor"}
    return f"plain {kind}" if kind in plain else f"{kind} object"


def _remedy(place: str, kind: str, modules: bool) -> str:
    if kind in _CONTAINERS:
        return f"put `{place}` into {_CONTAINERS[kind][0 if modules else 1]}"
    if kind == "tensor":
        return f"make `{place}` an nn.Parameter, computing nothing from it before it is assigned"
    return f"make `{place}` ({kind}) an nn.Module, or register what it holds"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def loss_parameter_not_in_optimizer(seen: Unregistered) -> Finding | None:
    """Trainable parameters of the loss are handed to the optimizer."""
    if not seen.of_loss:
        return None
    count, names = len(seen.of_loss), listed(seen.of_loss)
    message = (
        f"The loss trains {count} parameter{'s' * (count > 1)} of its own that the optimizer lacks: {names}."
    )
    fix = "Make the loss part of the model, or give its parameters to the optimizer (Task.optimizer)."
    return finding("parameter-not-in-optimizer", message, count, "0", fix=fix)


def parameter_not_in_optimizer(seen: OptimizerSteps) -> Finding | None:
    """Every parameter with a gradient is in one of the optimizer's groups."""
    if not seen.left_out:
        return None
    count = len(seen.left_out)
    if seen.held == 0:
        message = (
            f"The {seen.optimizer} holds none of the model's {seen.trainable} trainable parameters but "
            f"{seen.foreign} other tensors: it was built on another model, or on a copy."
        )
        fix = "Build the optimizer from the model that it is given: optimizer=lambda model, lr, weight_decay: ..."
        return finding("parameter-not-in-optimizer", message, count, "0", fix=fix)
    message = (
        f"{count} of {seen.trainable} trainable parameters have a gradient and are in no group of the "
        f"{seen.optimizer}: {listed(seen.left_out)}."
    )
    fix = "Add them to a parameter group, or freeze them with requires_grad_(False)."
    return finding("parameter-not-in-optimizer", message, count, "0", fix=fix)


def optimizer_does_not_step(seen: OptimizerSteps) -> Finding | None:
    """Every parameter that the optimizer holds moves when it has a gradient."""
    if not seen.still:
        return None
    count = len(seen.still)
    whole = seen.moving == 0
    subject = (
        "None of the parameters" if whole else f"{count} of {count + seen.moving} parameters do not move"
    )
    message = f"{subject} {'moves ' if whole else ''}in three steps of {seen.optimizer}, in spite of their gradients"
    message += f": {listed(seen.still)}."
    fix = None
    if idle := [(index, rate) for index, rate in seen.groups if rate == 0]:
        groups = listed([str(index) for index, _ in idle])
        message += f" The learning rate of group {groups} is 0."
        fix = f"Give group {groups} the learning rate that the optimizer is built with; a schedule must be stepped."
    elif seen.replaced:
        message += f" The forward pass puts other values in place of {listed(seen.replaced)}."
        fix = f"Do not assign to {listed(seen.replaced)} in forward: keep what is computed from it in a local variable."
    return finding("optimizer-does-not-step", message, count, "0", fix=fix)


def symmetric_init(seen: Symmetry) -> Finding | None:
    """The units of each hidden layer differ, or come to differ within a few steps."""
    alike = {one.name: one for one in seen.equal if _is_symmetric(one)}
    if not alike:
        return None
    units = max(one.units for one in alike.values())
    lasting = [name for name, one in alike.items() if _stays_equal(one)]
    message = f"All units of {len(alike)} layer{'s' * (len(alike) > 1)} begin with equal weights: "
    message += listed([f"{name} ({_values(one)})" for name, one in alike.items()]) + "."
    if lasting:
        message += f" After {seen.steps} steps of training those of {listed(lasting)} are still equal."
    fix = (
        f"Draw {listed(list(alike))} at random (nn.init.xavier_uniform_); zero is for biases and last layers."
    )
    return finding("symmetric-init", message, units, "1 unit with each row of weights", fix=fix)


def _is_symmetric(one: EqualUnits) -> bool:
    if one.output:
        return False
    return (one.of_layer and one.weight > 0) or _stays_equal(one)


def _stays_equal(one: EqualUnits) -> bool:
    return one.difference is not None and one.difference <= _LARGEST_DIFFERENCE


def _values(one: EqualUnits) -> str:
    return f"{one.units} units, weights " + (f"up to {one.weight:.3g} in size" if one.weight else "all zero")


def wrong_gradient(seen: Sequence[FunctionGradient]) -> Finding | None:
    """The backward pass of every custom function is the derivative of its forward pass."""
    wrong = [one for one in seen if _is_wrong(one.compared.errors)]
    if not wrong:
        return None
    functions = list(dict.fromkeys(one.function for one in wrong))
    worst = max(wrong, key=lambda one: statistics.median(one.compared.errors))
    names = list(dict.fromkeys(name for one in wrong for name in one.parameters))
    through = f", through which the gradients of {listed(names)} go" if names else ""
    message = (
        f"The backward pass of {listed(functions)}{through}, is not the derivative of its forward pass: for argument "
        f"{worst.argument} {_deviation(worst.compared)}."
    )
    error = statistics.median(worst.compared.errors)
    return finding("wrong-gradient", message, error, f"<= {_LARGEST_ERROR}", fix=_gradient_fix(functions))


def _deviation(compared: Compared) -> str:
    errors, numbers = compared.errors, compared.numbers
    if max(errors) - min(errors) < _EQUAL_ERRORS:
        return f"it returns {compared.ratio:.3g} times the finite difference at each of {numbers} numbers"
    count = sum(error > _LARGEST_ERROR for error in errors)
    median = statistics.median(error for error in errors if error > _LARGEST_ERROR)
    return f"{count} of {numbers} numbers differ from finite differences, by {median:.0%} (median)"


def _is_wrong(errors: list[float]) -> bool:
    share = sum(error > _LARGEST_SINGLE_ERROR for error in errors) / len(errors)
    return statistics.median(errors) > _LARGEST_ERROR or share >= _LARGEST_SHARE


def _gradient_fix(functions: list[str]) -> str:
    return (
        f"Correct {functions[0]}.backward until torch.autograd.gradcheck({functions[0]}.apply, inputs.double()) "
        "passes, or write the forward pass with torch operations and drop the class."
    )
