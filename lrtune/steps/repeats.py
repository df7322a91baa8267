"""The winner of a search and the setting that it has to beat, trained again under further seeds."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrtune.checks import grid as checks
from lrtune.population.protocol import Member
from lrtune.population.training import train_members
from lrtune.steps.trials import score, trial_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lrtune.results import Finding
    from lrtune.steps.context import Context
    from lrtune.steps.trials import Trial

_FEWEST = 2  # seeds: one pair of trainings has no spread to judge a gain by
_KINDS = ("coarse", "refined")


@dataclass(frozen=True)
class Repeats:
    """Losses of both settings, a pair a seed; infinite where a training did not complete.

    Attributes:
        settings: Names of the curves of both trials.
        losses: By seed: of the coarse grid's cell, and of the refined setting.
    """

    settings: tuple[str, str] = ("", "")
    losses: Mapping[int, tuple[float, float]] = field(default_factory=dict)

    @property
    def pairs(self) -> dict[str, list[float]]:
        """The losses of the seeds under which both completed: one that diverges has no loss to compare."""
        finite = [pair for pair in self.losses.values() if math.isfinite(sum(pair))]
        return {kind: [pair[at] for pair in finite] for at, kind in enumerate(_KINDS)} if self.losses else {}

    @property
    def gain(self) -> tuple[float | None, float | None]:
        """The refined setting's mean gain and its standard error; None without repeats."""
        pairs = self.pairs
        return checks.paired_gain(pairs["coarse"], pairs["refined"]) if pairs.get("coarse") else (None, None)

    def judged(self) -> Finding | None:
        """Say so where the gain is no more than chance."""
        pairs = self.pairs
        return checks.within_seed_noise(pairs["coarse"], pairs["refined"]) if pairs else None

    def summary(self) -> dict[str, Any] | None:
        """Return mean and spread (standard deviation) of both settings and the gain; None without repeats."""
        if not self.losses:
            return None
        gain, error = self.gain
        each = {kind: _mean_and_spread(losses) for kind, losses in self.pairs.items()}
        return {"seeds": list(self.losses), **each, "gain": gain, "standard_error": error}

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        losses = {str(seed): [_finite(loss) for loss in pair] for seed, pair in self.losses.items()}
        return {"settings": list(self.settings), "losses": losses}


def repeats_from(values: Mapping[str, Any] | None) -> Repeats:
    """Return the repeats that `Repeats.to_dict` wrote."""
    if not values:
        return Repeats()
    losses = {
        int(seed): (_number(pair[0]), _number(pair[1])) for seed, pair in dict(values["losses"]).items()
    }
    return Repeats((str(values["settings"][0]), str(values["settings"][1])), losses)


def repeated(
    context: Context,
    coarse: Trial,
    best: Trial,
    known: Repeats,
    on_begin: Callable[[int], object],
    on_steps: Callable[[int], None],
) -> Repeats:
    """Train both settings again under seeds that chose neither.

    The seed of the search is left out: the best of many trials owes a part of its loss to that seed.

    Args:
        context: The task made ready.
        coarse: The coarse grid's best cell, as the search has trained it.
        best: The search's best trial.
        known: Repeats of before; those of the same settings are not trained again.
        on_begin: Told how many trainings there will be.
        on_steps: Told the member-steps done.
    """
    settings = context.config.refine
    names = (str(coarse["curve"]), str(best["curve"]))
    if settings.seeds < _FEWEST or names[0] == names[1]:
        return Repeats()
    first = context.config.seed + 1
    seeds = range(first, first + settings.seeds)
    before = known.losses if known.settings == names else {}
    missing = [seed for seed in seeds if seed not in before]
    on_begin(2 * len(missing))
    trained = _trained(context, (coarse, best), missing, on_steps)
    return Repeats(names, {seed: before[seed] if seed in before else trained[seed] for seed in seeds})


def _trained(
    context: Context, rows: tuple[Trial, Trial], seeds: Sequence[int], on_steps: Callable[[int], None]
) -> dict[int, tuple[float, float]]:
    members = [Member(row["lr"], row["weight_decay"], seed, seed) for seed in seeds for row in rows]
    runs = train_members(context.planner, members, context.data, context.config.refine.epochs, on_steps)
    losses = {_key(run.member): score(trial_of(run, "")) for run in runs}
    return {
        seed: (losses[_key(one)], losses[_key(other)])
        for seed, one, other in zip(seeds, members[::2], members[1::2], strict=True)
    }


def _key(member: Member) -> tuple[float, float, int]:
    return member.learning_rate, member.weight_decay, member.seed


def _mean_and_spread(losses: Sequence[float]) -> dict[str, float | None]:
    spread = statistics.stdev(losses) if len(losses) > 1 else None
    return {"mean": statistics.fmean(losses) if losses else None, "spread": spread}


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _number(value: Any) -> float:
    return math.inf if value is None else float(value)
