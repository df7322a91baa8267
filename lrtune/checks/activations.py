"""Checks of activations that let no gradient through."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.model.activations import Activation, Activations
    from lrtune.results import Finding

_NAMED = 3  # places listed in a message before "and N more"
# With depth all examples come to look alike, and half of the units are off for each of them by chance. Healthy networks
# (88 programs, two seeds) had at most half as mean and 4 standard deviations of a fair coin more per layer; the
# most were 0.63 of 16 and 0.56 of 32 units. Faults had 0.70 to 1.
_OFF_BY_CHANCE = 0.5
# A unit that is on for one value in thousands is as good as dead. 34 healthy programs had at most 0.65 of a layer's
# values off, sparse coding and bases of hat functions up to 0.992; trained networks may have nearly all (Li et al.,
# "The Lazy Neuron Phenomenon", 2023: 97%).
_OFF_VALUES = 0.999
_DEVIATIONS = 4.0
# Trained ReLU networks may keep most units off for most inputs: Voita et al., "Neurons in Large Language Models: Dead,
# N-gram, Positional" (2023) find over 70% of a layer dead.
_PRETRAINED_DEAD = 0.99
# Healthy programs had up to 0.15 (tanh at a gain of 5/3), the last steps of an LSTM with a forget bias of 5 up to 0.38;
# weights with deviation 1 to 3 had 0.59 to 0.95.
_SATURATED = 0.5
_PRETRAINED_SATURATED = 0.9  # trained gates are often wide open or shut
_EACH_SIDE = 0.1  # of the flat values: all on one side is what a bias for a prior does


def dead_units(seen: Activations) -> Finding | None:
    """No activation of the ReLU family is off for every example in far more units than chance explains."""
    rectified = [one for one in seen.seen if one.kind == "dead"]
    dead = [one for one in rectified if one.stuck >= _most_dead(one, seen.pretrained)]
    if not dead:
        return None if seen.pretrained else _nearly_dead(rectified, seen.examples)
    first = dead[0]
    count = round(first.stuck * first.units)
    message = (
        f"{count} of {first.units} units of {first.place} are off for each of {seen.examples} examples{_more(dead)}; "
        "they pass no gradient."
    )
    fix = (
        f"Look at bias and scale of the layer before {first.place}: its outputs are negative for every input."
    )
    expected = f"< {min(_most_dead(first, seen.pretrained), 1):.2f}"
    return finding("dead-units", message, first.stuck, expected, fix)


def _nearly_dead(rectified: Sequence[Activation], examples: int) -> Finding | None:
    off = [one for one in rectified if one.flat > _OFF_VALUES]
    if not off:
        return None
    message = (
        f"{off[0].flat:.2%} of the values of {off[0].place} are off, over {examples} examples{_more(off)}."
    )
    fix = f"Look at bias and scale of the layer before {off[0].place}: its outputs are negative for nearly every input."
    return finding("dead-units", message, off[0].flat, f"<= {_OFF_VALUES}", fix)


def _most_dead(one: Activation, pretrained: bool) -> float:
    bound: float = _OFF_BY_CHANCE + _DEVIATIONS * 0.5 / math.sqrt(max(one.units, 1))
    return max(bound, _PRETRAINED_DEAD) if pretrained else bound


def saturated_units(seen: Activations) -> Finding | None:
    """No bounded activation has most of its values, on both sides, where it is flat; outputs excepted."""
    bound = _PRETRAINED_SATURATED if seen.pretrained else _SATURATED
    bounded = [one for one in seen.seen if one.kind == "saturated" and not one.output]
    flat = [one for one in _by_place(bounded) if one.flat > bound and _two_sided(one)]
    if not flat:
        return None
    first = flat[0]
    message = (
        f"{first.flat:.0%} of the values of {first.place} are where it is flat, "
        f"over {seen.examples} examples{_more(flat)}."
    )
    fix = f"Scale down the weights before {first.place}, or the inputs, until most of its arguments lie within ±2."
    return finding("saturated-units", message, first.flat, f"<= {bound}", fix)


def _by_place(seen: Sequence[Activation]) -> list[Activation]:
    """Return one activation a place, with the mean of its calls: a cell that remembers fills up in its last steps."""
    places: dict[str, list[Activation]] = {}
    for one in seen:
        places.setdefault(one.place, []).append(one)
    return [
        replace(
            calls[0],
            flat=sum(one.flat for one in calls) / len(calls),
            low=sum(one.low for one in calls) / len(calls),
        )
        for calls in places.values()
    ]


def _two_sided(one: Activation) -> bool:
    return _EACH_SIDE * one.flat <= one.low <= (1 - _EACH_SIDE) * one.flat


def _more(places: Sequence[Activation]) -> str:
    """Return the further places, each once: an unrolled recurrence computes the same one at every step."""
    names = [name for name in dict.fromkeys(one.place for one in places) if name != places[0].place]
    if not names:
        return ""
    more = len(names) - _NAMED
    return ", and likewise " + ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
