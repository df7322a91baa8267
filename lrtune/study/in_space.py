"""A sampler that is told its space, in place of inferring it from the trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.samplers import BaseSampler

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial, TrialState


class InSpace(BaseSampler):
    """Draws as another sampler does, in a given space.

    Optuna's samplers take for the space what is equal in all trials so far. When a range has been widened nothing is:
    each parameter would be drawn for itself, and with some samplers at random.

    Args:
        sampler: What draws.
        space: The parameters with their ranges; those of all trials lie within.
    """

    def __init__(self, sampler: BaseSampler, space: dict[str, BaseDistribution]) -> None:
        self._sampler = sampler
        self._space = space

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the space."""
        return self._space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw all parameters together."""
        return self._sampler.sample_relative(study, trial, dict(search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one parameter for itself."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Hand on."""
        self._sampler.before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Hand on."""
        self._sampler.after_trial(study, trial, state, values)

    def reseed_rng(self) -> None:
        """Hand on."""
        self._sampler.reseed_rng()
