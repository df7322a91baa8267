"""Trials as they enter a study: waiting to be taken, or trained before there was the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.trial import TrialState, create_trial

from lrtune.study.trials import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    from optuna.trial import FrozenTrial

    from lrtune.study.telling import Telling
    from lrtune.study.trials import Wanted


def enqueue(study: optuna.Study, wanted: Wanted, trials: Sequence[FrozenTrial]) -> None:
    """Add a trial that waits, with the parameters that were drawn for its identity before, if any were."""
    drawn = [trial for trial in trials if trial.user_attrs[IDENTITY] == wanted.identity and trial.params]
    fixed = {**wanted.params, **(drawn[-1].params if drawn else {})}
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=dict(wanted.params) if wanted.distributions else {},
            distributions=dict(wanted.distributions),
            user_attrs={IDENTITY: wanted.identity},
            system_attrs={"fixed_params": fixed},
        )
    )


def adopt(study: optuna.Study, wanted: Wanted, telling: Telling) -> None:
    """Add a trial that was trained before there was this study."""
    study.add_trial(
        create_trial(
            state=telling.state,
            value=telling.loss if telling.state == TrialState.COMPLETE else None,
            params=dict(wanted.params),
            distributions=dict(wanted.distributions),
            user_attrs={IDENTITY: wanted.identity, **telling.attributes},
            intermediate_values=dict(telling.losses),
        )
    )
