"""A result that comes after its process was thought dead: it is told all the same where nobody else has told it.

Optuna lets no ended trial be changed, so that the result is a trial of its own, which names the one that it stands for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState, create_trial

from lrtune.study.trials import GIVEN_BACK, IDENTITY, LATE, row_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


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


def tell_late(
    study: optuna.Study,
    ended: FrozenTrial,
    state: TrialState,
    attributes: Mapping[str, Any],
    loss: float | None,
    losses: Mapping[int, float],
) -> None:
    """Add a trial for one that was ended while it trained.

    Args:
        study: Where to.
        ended: The trial that was ended.
        state: How it went.
        attributes: What the trial tells; what is None is left out.
        loss: What it is judged by, where it has one.
        losses: The same after each epoch.
    """
    told = {name: value for name, value in attributes.items() if value is not None}
    study.add_trial(
        create_trial(
            state=state,
            value=loss,
            params=ended.params,
            distributions=ended.distributions,
            user_attrs={IDENTITY: ended.user_attrs[IDENTITY], LATE: ended._trial_id, **told},
            intermediate_values=dict(losses),
        )
    )


def drop_waiting(storage: BaseStorage, trials: Sequence[FrozenTrial], identity: str) -> None:
    """End the trials of an identity that wait to be trained again; one that somebody has taken stays his."""
    for trial in trials:
        if trial.state != TrialState.WAITING or trial.user_attrs[IDENTITY] != identity:
            continue
        try:
            if storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                storage.set_trial_user_attr(trial._trial_id, GIVEN_BACK, True)
                storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            continue
