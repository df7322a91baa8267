"""Further rounds of a refined search: the ranges moved by what the report found, and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lrtune.study.space import Space

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrtune.results import Finding
    from lrtune.steps.trials import Trial

_NAMES = {"lr": "learning rate", "weight_decay": "weight decay"}
_ENDS = {"up": "upper", "down": "lower"}


@dataclass(frozen=True)
class Round:
    """A stretch of a search.

    Attributes:
        trials: That the search has at its end, those of earlier rounds included.
        space: What is searched from its beginning on, as plain values.
        moved: What differs from the round before, and why, a sentence each.
    """

    trials: int
    space: Mapping[str, Any]
    moved: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the round as plain values."""
        return {**asdict(self), "moved": list(self.moved)}


def rounds_from(values: Sequence[Mapping[str, Any]]) -> list[Round]:
    """Return the rounds that `Round.to_dict` wrote."""
    return [Round(int(one["trials"]), dict(one["space"]), tuple(one["moved"])) for one in values]


def next_round(before: Round, more: int, best: Trial | None, findings: Sequence[Finding]) -> Round:
    """Return the round that follows.

    Ranges are only ever widened: what is known of the old ones still counts.

    Args:
        before: The round before.
        more: Trials that are added.
        best: The best trial so far.
        findings: Of the report, about that trial's curve.
    """
    space, moved = Space(**before.space), []
    for name in _NAMES if best is not None else ():
        assert best is not None
        end = space.end_near(name, float(best[name]))
        if end is not None:
            old, space = space, space.widened(name, end)
            moved.append(
                f"the best {_NAMES[name]}, {best[name]:.3g}, lies at the {_ENDS[end]} end of what was searched: "
                f"{_range(old, name)} becomes {_range(space, name)}"
            )
    codes = {found.code for found in findings}
    if "overfitting" in codes:
        space, why = _more_decay(Space(**before.space), space)
        moved.append(why)
    return Round(before.trials + more, space.to_dict(), tuple(moved))


def advice(findings: Sequence[Finding], epochs: int) -> list[str]:
    """Return what the report found that no further round of the same search answers."""
    if not any(found.code == "still-improving" for found in findings):
        return []
    return [
        f"the best trial was still improving after {epochs} epochs: more of them are another search, which begins anew "
        f"(lrtune grid --refine CONFIG --set refine.epochs={2 * epochs})"
    ]


def _more_decay(before: Space, space: Space) -> tuple[Space, str]:
    if not space.searches_decay:
        return space, (
            "the best trial overfits, and no weight decay is searched: give coarse.weight_decay values above 0 "
            "(lrtune grid --coarse CONFIG --set coarse.weight_decay=[0,1e-4,1e-3])"
        )
    if space.decay_high > before.decay_high:
        return space, "the best trial overfits: the higher weight decays are for that too"
    wider = space.widened("weight_decay", "up")
    ranges = f"{_range(space, 'weight_decay')} becomes {_range(wider, 'weight_decay')}"
    return wider, f"the best trial overfits: more weight decay may help, {ranges}"


def _range(space: Space, name: str) -> str:
    if name == "lr":
        return f"{space.lr_low:.3g} to {space.lr_high:.3g}"
    return f"{'0' if space.decay_none else format(space.decay_low, '.3g')} to {space.decay_high:.3g}"
