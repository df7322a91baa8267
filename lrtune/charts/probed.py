"""What step 3 holds beside its sweeps: trainings at one rate each, and what other tools' rules suggest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lrtune.charts.numbers import finite
from lrtune.charts.trials import COMPLETE

if TYPE_CHECKING:
    from lrtune.results import StepResult

DIVERGED = "diverged"


@dataclass(frozen=True)
class Probe:
    """A training at one constant rate.

    Attributes:
        learning_rate: The rate.
        loss: At the end, None where it diverged or was not measured.
        steps: Taken, None where that was not stored.
        state: `complete`, `diverged` or `stopped`.
    """

    learning_rate: float
    loss: float | None
    steps: int | None
    state: str


@dataclass(frozen=True)
class Probes:
    """All of them.

    Attributes:
        rates: One a rate, ascending.
        steps: That each was to take, None where that was not stored.
        split: What their loss was measured on.
        initial_loss: The same loss before the first step.
    """

    rates: list[Probe] = field(default_factory=list)
    steps: int | None = None
    split: str = "training subset"
    initial_loss: float | None = None

    @property
    def words(self) -> str:
        """What one loss is: `loss on the training subset after 100 steps at one rate`."""
        steps = f"{self.steps} steps" if self.steps else "some steps"
        article = "" if self.split.endswith("data") else "the "
        return f"loss on {article}{self.split} after {steps} at one rate"


@dataclass(frozen=True)
class Rule:
    """The rate that another tool's rule reads from the same sweeps.

    Attributes:
        name: Of the tool and its rule.
        learning_rate: None where the rule gives none.
        ratio: To the suggestion, None where either is missing.
    """

    name: str
    learning_rate: float | None
    ratio: float | None


def probes_of(result: StepResult) -> Probes:
    """Return the trainings at one rate each; none for a result of a version that made none."""
    stored = result.details.get("probes") or {}
    rates = []
    for row in stored.get("rates") or []:
        rate, loss = positive(row.get("learning_rate")), finite(row.get("loss"))
        state = str(row.get("state") or (DIVERGED if loss is None else COMPLETE))
        if rate is not None:
            kept = None if state == DIVERGED else loss
            rates.append(Probe(rate, kept, _count(row.get("steps")), state))
    rates.sort(key=lambda probe: probe.learning_rate)
    split = str(stored.get("split") or Probes.split)
    return Probes(rates, _count(stored.get("steps")), split, finite(stored.get("initial_loss")))


def rules_of(result: StepResult) -> list[Rule]:
    """Return what other tools' rules give, in the order in which they are stored."""
    suggestion = positive(result.summary.get("suggestion"))
    rules = []
    for name, value in (result.details.get("rules") or {}).items():
        rate = positive(value)
        ratio = None if rate is None or suggestion is None else rate / suggestion
        rules.append(Rule(str(name), rate, ratio))
    return rules


def positive(value: object) -> float | None:
    """Return a rate that a logarithmic axis can hold, or None for everything else."""
    known = finite(value)
    return known if known is not None and known > 0 else None


def _count(value: object) -> int | None:
    known = finite(value)
    return None if known is None else int(known)
