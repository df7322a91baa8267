"""A result that comes after its process was thought dead: it is told all the same where nobody else has told it.

Optuna lets no ended trial be changed, so that the result is a trial of its own, which names the one that it stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from lrtune.study.life import give_up
from lrtune.study.trials import IDENTITY, LATE, row_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from lrtune.study.telling import Telling


def told_by_another(
    trials: Sequence[FrozenTrial], set_aside: set[int], identity: str, trial_id: int
) -> FrozenTrial | None:
    """Return the trial that holds an identity's row, where it is another than the given one."""
    rows = (
        trial
        for trial in trials
        if trial.user_attrs[IDENTITY] == identity and row_of(trial, set_aside) is not None
    )
    return next((trial for trial in rows if trial._trial_id != trial_id), None)


def tell_late(study: optuna.Study, ended: FrozenTrial, telling: Telling) -> None:
    """Add a trial for one that was ended while it trained.

    Args:
        study: Where to.
        ended: The trial that was ended.
        telling: How it went.
    """
    study.add_trial(
        create_trial(
            state=telling.state,
            value=telling.value,
            params=ended.params,
            distributions=ended.distributions,
            user_attrs={IDENTITY: ended.user_attrs[IDENTITY], LATE: ended._trial_id, **telling.attributes},
            intermediate_values=dict(telling.losses),
        )
    )


def drop_waiting(storage: BaseStorage, trials: Sequence[FrozenTrial], identity: str) -> None:
    """End the trials of an identity that wait to be trained again; one that somebody has taken stays his."""
    for trial in trials:
        if trial.state != TrialState.WAITING or trial.user_attrs[IDENTITY] != identity:
            continue
        try:
            if storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                give_up(storage, trial._trial_id)
        except UpdateFinishedTrialError:
            continue
