"""Checks of which parameters the first backward passes reach."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.words import listed

if TYPE_CHECKING:
    from lrtune.probes.initialisation import Gradients
    from lrtune.probes.parameters.gradient_flow import GradientFlow, Layer
    from lrtune.results import Finding

# The lowest layers' effect on the loss, of the largest effect: at least 2e-3 in 88 healthy programs
# (the least in 12 layers of torch's default for ReLU), at most 1.6e-5 in sigmoid networks of 8 layers and more.
_LEAST_FLOW = 5e-5
_LOWEST = 4  # the lowest quarter of the layers, two at least, of which the best counts: a side branch may come first
_CHAIN = 5  # layers below which nothing fades, but one of several inputs may matter little
# Five layers are too few for that bound, but a chain that fades by one factor a layer gives itself away. Over 40 kinds
# of networks, three seeds each: five sigmoids fade by 4.6 to 10 a layer (their slope is at most 1/4) and move their
# first layers, for their size, by 5e-5 to 5e-4 of the most moved one; torch's default under GELU, SiLU or softplus
# fades by 4.2 or less, three or four sigmoids keep 7e-4 to 5e-3.
_FADING = 4.5  # a layer on average
_EACH = 2.5  # and at least
_STEPS = 4  # from layer to layer, the first of which starts in the lowest quarter
_LEAST_CHANGE = 5e-4
_PAUSED_STEPS = 6  # where one layer between them does not fade: an autoencoder's code has no activation
_PAUSE = 0.5  # that layer's rise at least
# The largest gradient of a weight, of that of the output: at least 0.04 in the healthy programs, at most 3e-5 in eight
# layers of deviation 0.01.
_LEAST_GRADIENT = 1e-4
# The largest effect on the loss, in units of an uninformed loss: at most 3e4 in the healthy programs (50 layers with
# batch normalisation, whose gradients are known to grow: Yang et al., 2019), 2e5 to 7e24 in the
# faulty ones; three times Kaiming's in only 8 layers has 7e4 and is let through.
_LARGEST_EFFECT = 1e5
_SMALL_GAIN = (
    1e3  # from the output's gradient to a weight's: then the loss's scale is at fault, not the layers
)


def frozen_model(seen: Gradients) -> Finding | None:
    """At least one parameter requires a gradient."""
    if seen.trainable:
        return None
    message = f"No parameter requires a gradient: all {seen.total:,} numbers of the model are frozen."
    if not seen.total:
        message = "The model has no parameters: parameters() lists none."
    return finding("frozen-model", message, 0, "> 0")


def detached_loss(seen: Gradients) -> Finding | None:
    """The loss depends on the parameters."""
    if seen.connected or not seen.trainable:
        return None
    return finding(
        "detached-loss", "No parameter receives a gradient: the loss is cut off from the model.", 0, "> 0"
    )


def parameter_without_gradient(seen: Gradients) -> Finding | None:
    """Every parameter that requires a gradient receives one, from one of several batches."""
    if not seen.connected or not seen.missing:
        return None
    count = len(seen.missing)
    names = listed(seen.missing)
    message = f"{count} parameter{'s' * (count > 1)} took no part in the loss of the first batches: {names}."
    return finding("parameter-without-gradient", message, count, "0")


def nonfinite_gradient(seen: Gradients) -> Finding | None:
    """Every gradient is finite."""
    if not seen.not_finite:
        return None
    count = len(seen.not_finite)
    message = (
        f"At initialisation the gradient of {count} parameter{'s' * (count > 1)} holds NaN or infinity: "
    )
    return finding("nonfinite-gradient", message + f"{listed(seen.not_finite)}.", count, "0")


def gradient_stopped(seen: GradientFlow) -> Finding | None:
    """No rounding stands between a parameter and the loss."""
    if not seen.steps or not seen.zero:
        return None
    count = len(seen.zero)
    what = " and ".join(f"torch.{name}" for name in seen.steps)
    message = (
        f"The gradient of {count} parameter{'s' * (count > 1)} is exactly 0: {listed(list(seen.zero))}. On the way to "
        f"the loss stands {what}, whose derivative is 0 everywhere."
    )
    fix = "Let the gradient pass straight through: x + (x.round() - x).detach()."
    return finding("vanishing-gradient", message, 0.0, "> 0", fix)


def vanishing_gradient(seen: GradientFlow) -> Finding | None:
    """Some of the gradient arrives at the layers next to the input, and any at all in the layers."""
    layers = seen.layers
    largest = max(layers, key=lambda layer: layer.effect)
    lowest = max(layers[: max(len(layers) // _LOWEST, 2)], key=lambda layer: layer.effect)
    share = lowest.effect / largest.effect
    if share < _LEAST_FLOW and len(layers) >= _CHAIN:
        index = next(i for i, layer in enumerate(layers) if layer.effect >= _LEAST_FLOW * largest.effect)
        message = (
            f"The gradient fades on its way to the input: changed by its own size, {lowest.name} moves the loss "
            f"{share:.1e} times as much as {largest.name} does; it is below {_LEAST_FLOW:g} in all layers "
            f"before {layers[index].name}."
        )
        return finding("vanishing-gradient", message, share, f">= {_LEAST_FLOW:g}")
    if faded := _fading(layers):
        return faded
    strongest = max(layers, key=lambda layer: layer.gradient)
    if seen.output and strongest.gradient < _LEAST_GRADIENT * seen.output:
        share = strongest.gradient / seen.output
        message = (
            f"The signal fades in the layers: no weight's gradient is larger than {share:.1e} of that of the output "
            f"({strongest.name} has {strongest.gradient:.1e}, the output {seen.output:.1e})."
        )
        return finding("vanishing-gradient", message, share, f">= {_LEAST_GRADIENT:g}")
    return None


def _fading(layers: list[Layer]) -> Finding | None:
    """Tell of a gradient that falls by one factor at each layer towards the input."""
    lowest = layers[: max(len(layers) // _LOWEST, 2)]
    changes = [layer.gradient / layer.weight for layer in layers if layer.weight]
    share = max(changes[: len(lowest)], default=0.0) / max(changes, default=1.0)
    run = _longest(layers, len(lowest), 0, _STEPS) or _longest(layers, len(lowest), 1, _PAUSED_STEPS)
    if share > _LEAST_CHANGE or run is None:
        return None
    steps, factor = run
    message = (
        f"The gradient falls by a factor of {factor:.2g} at each of {steps} layers on its way to the input: of its own "
        f"size, {lowest[0].name} is changed {share:.1e} times as much as the layer that is changed most."
    )
    return finding("vanishing-gradient", message, share, f">= {_LEAST_CHANGE:g}")


def _longest(layers: list[Layer], starts: int, pauses: int, least: int) -> tuple[int, float] | None:
    """Return the longest rise from one of the lowest layers, None where it is too short or not steep enough."""
    steps, factor = max((_risen(layers[start:], pauses) for start in range(starts)), key=lambda run: run[0])
    return (steps, factor) if steps >= least and factor >= _FADING else None


def _risen(layers: list[Layer], pauses: int) -> tuple[int, float]:
    """Return over how many layers from the first on the gradient rises at each, and by how much on average.

    Args:
        layers: In the order of their use.
        pauses: Layers between the others that need not rise.
    """
    kept = []
    for before, after in pairwise(layers):
        rise = after.gradient / before.gradient if before.gradient else math.inf
        if _EACH <= rise < math.inf:
            kept.append(rise)
        elif pauses and kept and rise >= _PAUSE and rise < math.inf:
            pauses -= 1
        else:
            break
    return len(kept), math.prod(kept) ** (1 / max(len(kept), 1))


def exploding_gradient(seen: GradientFlow) -> Finding | None:
    """No layer moves the loss by far more than its own scale."""
    largest = max(seen.layers, key=lambda layer: layer.effect)
    effect = largest.effect / seen.loss_scale
    if effect <= _LARGEST_EFFECT:
        return None
    message = (
        f"The gradient of {largest.name} has a norm of {largest.gradient:.1e}: a change by {1 / effect:.0e} of "
        f"the weight moves the loss by {seen.loss_scale:.3g}, which is its own scale."
    )
    strongest = max(layer.gradient for layer in seen.layers)
    fix = None
    if seen.output and strongest < _SMALL_GAIN * seen.output:
        fix = f"Scale the loss: it is steep at the output already, with a gradient of norm {seen.output:.1e} there."
    return finding("exploding-gradient", message, effect, f"<= {_LARGEST_EFFECT:g}", fix)
