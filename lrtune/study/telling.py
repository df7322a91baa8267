"""How a trained trial is told: its losses and its row, then its state, once for all who may have trained it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from lrtune.study.late import drop_waiting, tell_late, told_by_another
from lrtune.study.life import give_up
from lrtune.study.trials import CURVE, DIGEST, LATE, ROW, STATES, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from lrtune.study.trials import Taken


@dataclass(frozen=True)
class Telling:
    """What there is to say of a trained trial.

    Attributes:
        row: Its row of the table.
        loss: What it is judged by; None where it did not complete.
        losses: The same after each epoch.
        curve: Its training curve as text, for other processes.
        digest: Of the curve's file, for this process alone.
    """

    row: Mapping[str, Any]
    loss: float | None
    losses: Mapping[int, float]
    curve: str | None = None
    digest: str | None = None

    @property
    def attributes(self) -> dict[str, Any]:
        """The user attributes of its trial."""
        found = {CURVE: self.curve, DIGEST: self.digest, ROW: dict(self.row)}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def state(self) -> TrialState:
        """Optuna's state of it."""
        return STATES.get(self.row["state"], TrialState.FAIL)

    @property
    def value(self) -> float | None:
        """Optuna's value of it."""
        return None if self.state == TrialState.FAIL else self.loss


def tell(
    study: optuna.Study,
    storage: BaseStorage,
    taken: Taken,
    telling: Telling,
    others: Sequence[FrozenTrial],
    set_aside: set[int],
) -> bool:
    """Record a trial; may be called again where an answer was lost on the way.

    Args:
        study: Where to.
        storage: The study's.
        taken: Which one.
        telling: How it went.
        others: All trials of the study that others may tell; none where no other process works on it.
        set_aside: Numbers of those that count no more.

    Returns:
        Whether it counts: not where this process was thought dead, and another has told the trial by now.
    """
    trial_id = taken.trial_id
    other = told_by_another(others, set_aside, taken.identity, trial_id)
    if other is not None:
        give_up(storage, trial_id)
        return bool(other.user_attrs.get(LATE) == trial_id)  # by an attempt whose answer was lost
    try:
        for epoch, after in telling.losses.items():
            storage.set_trial_intermediate_value(trial_id, epoch, after)
        for name, value in telling.attributes.items():
            storage.set_trial_user_attr(trial_id, name, value)
        storage.set_trial_state_values(
            trial_id, telling.state, None if telling.value is None else [telling.value]
        )
    except UpdateFinishedTrialError:
        ended = storage.get_trial(trial_id)
        if row_of(ended, set()) != telling.attributes[ROW]:  # else told already, by such an attempt
            tell_late(study, ended, telling)
            drop_waiting(storage, others, taken.identity)
    return True
