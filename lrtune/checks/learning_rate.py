"""Checks of the learning-rate sweeps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from lrtune.checks.catalogue import finding
from lrtune.probes.learning.constant_rates import JUDGED_STEPS
from lrtune.probes.learning.sweep import DIVERGENCE_MULTIPLES, geometric_median, least_drop, spread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrtune.probes.learning.constant_rates import RateProbes
    from lrtune.probes.learning.reading import Reading
    from lrtune.probes.learning.sweep import Sweep
    from lrtune.results import Finding

MOST_SPREAD = 3.0  # of the suggestions over seeds: neighbouring rates of a coarse grid lie this far apart
SETTLED_NOISE = 0.1  # of the fall of the loss: standard error at constant rates
_PEERS_DECADES = 1.0
_EDGE_GAIN = 0.02  # of the fall of the loss: the best of a flat valley may lie at its edge by chance
_EDGE_SHARE = 0.04  # of the sweep's steps


def no_descent(
    sweeps: Sequence[Sweep], mean: Sweep, probed: Reading | None, fell: bool = True
) -> Finding | None:
    """The loss falls by more than the noise in most sweeps, or in their mean, or at a constant rate.

    Args:
        sweeps: One a seed.
        mean: The sweep of their mean loss.
        probed: What constant rates say, None where they show no clear fall.
        fell: Whether the loss on fixed examples fell at any constant rate at all: where it did not, a dip of the sweeps
            was chance.
    """
    descending = sum(sweep.descends for sweep in sweeps)
    if probed or diverges_everywhere(sweeps) or (fell and (2 * descending > len(sweeps) or mean.descends)):
        return None
    message = (
        f"The loss falls at no rate from {mean.rates[0]:.2g} to {mean.rates[-1]:.2g} in {len(sweeps) - descending} of "
        f"{len(sweeps)} sweeps, nor in their mean, whose largest drop, {mean.drop:.3g} from {mean.initial:.4g}, is "
        "within the noise, nor when trained at constant rates."
    )
    return finding("no-descent", message, mean.drop, f"> {least_drop(mean.initial, mean.noise):.3g}")


def diverges_everywhere(sweeps: Sequence[Sweep]) -> Finding | None:
    """Some rate of the range is small enough."""
    at_once = [sweep for sweep in sweeps if _ends_at_once(sweep)]
    if 2 * len(at_once) <= len(sweeps):
        return None
    least = float(sweeps[0].rates[0])
    diverged = geometric_median([float(sweep.rates[sweep.diverged or 0]) for sweep in at_once])
    message = (
        f"The loss diverges within the first steps, at {diverged:.2g}, when the lowest rate is {least:.2g}."
    )
    fix = None
    if all(_ends_without_rise(sweep) for sweep in at_once):
        message += " It had not risen before."
        fix = "Run lrtune check-init: values in the data or the loss's formula are likelier to blame than the rate."
    return finding("diverges-everywhere", message, diverged, "a rate at which the loss stays finite", fix)


def never_diverged(sweeps: Sequence[Sweep], asked: float | None) -> Finding | None:
    """The range goes on until the loss diverges, so that the largest stable rate is known.

    Args:
        sweeps: As far as they went.
        asked: The highest rate that the user had set, where the sweeps had to go on above it; else None.
    """
    diverged = [float(sweep.rates[sweep.diverged]) for sweep in sweeps if sweep.diverged is not None]
    most = float(sweeps[0].rates[-1])
    if not diverged:
        message = f"The loss does not diverge up to the highest rate, {most:.3g}: higher ones may be better."
        return finding("never-diverged", message, most, "a rate that diverges")
    if asked is None:
        return None
    message = (
        f"The loss does not diverge up to find_lr.max, {asked:.3g}; swept beyond it, it diverges at "
        f"{geometric_median(diverged):.2g}. The suggestion counts on that."
    )
    return finding("never-diverged", message, asked, "a rate that diverges")


def best_at_range_edge(
    sweeps: Sequence[Sweep], reading: Reading | None, probes: RateProbes
) -> Finding | None:
    """The best rate lies inside the range of rates: one on either side does worse."""
    if reading is not None:
        return _best_probe_at_edge(probes)
    at_edge = [sweep for sweep in sweeps if sweep.descends and sweep.lowest >= _last_inner(sweep)]
    if 2 * len(at_edge) <= len(sweeps):
        return None
    rate = float(at_edge[0].rates[at_edge[0].lowest])
    message = f"The loss is lowest at the end of the range of rates, {rate:.3g}: it may go on falling beyond."
    return finding("best-at-range-edge", message, rate, f"< {float(at_edge[0].rates[-1]):.3g}")


def _best_probe_at_edge(probes: RateProbes) -> Finding | None:
    regrets = probes.regrets(*JUDGED_STEPS)
    best = min(regrets, key=lambda rate: regrets[rate])
    tried = [one.rate for one in probes.tried]
    inner = [regret for rate, regret in regrets.items() if rate != best]
    if best not in (min(tried), max(tried)) or min(inner, default=math.inf) < regrets[best] + _EDGE_GAIN:
        return None
    upper = best == max(tried)
    end, beyond, beyond_words = ("highest", ">", "above") if upper else ("lowest", "<", "below")
    message = (
        f"Of the rates trained at, {min(tried):.2g} to {max(tried):.2g}, the {end} is the best: one beyond may do "
        "better."
    )
    fix = f"Try rates {beyond_words} {best:.2g}: in coarse.lr, or let the coarse grid extend itself."
    return finding("best-at-range-edge", message, best, f"a rate {beyond} {best:.2g} that does worse", fix)


def noisy_suggestion(valleys: Sequence[float], reading: Reading | None) -> Finding | None:
    """Sweeps over different seeds agree, unless constant rates on the same batches settle what they leave open."""
    if reading is not None and reading.noise <= SETTLED_NOISE:
        return None
    if reading is None and valleys:
        message = (
            "Training at constant rates confirms none: the suggestion is where the sweeps fall, and a guess."
        )
        return finding("noisy-suggestion", message, None, "a constant rate at which the loss falls clearly")
    if len(valleys) < 2 or spread(valleys) <= MOST_SPREAD:
        return None
    ratio = spread(valleys)
    message = (
        f"Over {len(valleys)} seeds the valley of the sweeps spreads by a factor of {ratio:.1f} "
        f"({min(valleys):.2g} to {max(valleys):.2g})."
    )
    return finding("noisy-suggestion", message, ratio, f"<= {MOST_SPREAD:g}")


def peers_disagree(suggestion: float, rules: Mapping[str, float | None]) -> Finding | None:
    """Most of the rules that other tools apply to the same sweeps come within a decade."""
    answers = {name: rate for name, rate in rules.items() if rate is not None}
    far = {
        name: rate for name, rate in answers.items() if abs(math.log10(rate / suggestion)) > _PEERS_DECADES
    }
    if not far or 2 * len(far) < len(answers):
        return None
    named = ", ".join(f"{name} {rate:.2g}" for name, rate in far.items())
    message = (
        f"{len(far)} of {len(answers)} rules of other tools, on the same sweeps, are more than a factor of 10 away "
        f"from {suggestion:.2g}: {named}."
    )
    return finding("peers-disagree", message, len(far), f"< {len(answers) / 2:g}")


def confidence(
    valleys: Sequence[float], sweeps: Sequence[Sweep], reading: Reading | None
) -> Literal["high", "medium", "low"]:
    """Return how far the suggestion can be trusted.

    High: constant rates settle it and every sweep descends; medium: one of the two; low: neither.
    """
    agree = len(valleys) == len(sweeps) and spread(valleys) <= MOST_SPREAD
    settled = reading is not None and reading.noise <= SETTLED_NOISE
    if settled and agree:
        return "high"
    return "medium" if settled or (agree and reading) else "low"


def _ends_at_once(sweep: Sweep) -> bool:
    return sweep.diverged is not None and not sweep.descends and sweep.diverged <= 0.1 * len(sweep.rates)


def _ends_without_rise(sweep: Sweep) -> bool:
    """Whether the loss stopped being finite out of calm."""
    if sweep.smoothed.size == 0:
        return True
    rise = float(sweep.smoothed[-1]) - sweep.initial
    return sweep.diverged == len(sweep.smoothed) and rise <= max(DIVERGENCE_MULTIPLES * sweep.noise, 0.0)


def _last_inner(sweep: Sweep) -> int:
    return len(sweep.rates) - 1 - round(_EDGE_SHARE * len(sweep.rates))
