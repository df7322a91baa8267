"""What the probes of an untrained model measure on: a task, a few batches of its training data and a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import byte_count, example_count, first_rows
from lrtune.errors import LrtuneError
from lrtune.population.forward import Outcome, run_batch
from lrtune.population.modes import in_mode
from lrtune.probes.data.target_place import targets_of
from lrtune.probes.losses.loss_behaviour import told_family
from lrtune.probes.losses.loss_family import declared_family
from lrtune.probes.model.awakened import awaken
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.probes.losses.loss_family import LossFamily

_LARGE = 64 * 2**20  # bytes of outputs above which probes that hold several of them look at fewer examples


@dataclass(frozen=True)
class Sample:
    """A task's first batches, and models to measure on.

    Attributes:
        program: The task on its device.
        train: All training data, for the few probes that look past the sample.
        batches: The first batches of training, on the device.
        seed: Of the models and of every random stream.
    """

    program: Program
    train: Batches
    batches: Sequence[Any]
    seed: int

    def build(self) -> torch.nn.Module:
        """Return a fresh model, the one that training under this seed begins with: free to be trained or changed."""
        with seeded(self.seed):
            return self.program.build_model()

    @cached_property
    def model(self) -> torch.nn.Module:
        """The untrained model that all probes share: each leaves parameters, gradients, buffers and mode as found."""
        return self.build()

    @cached_property
    def awake(self) -> torch.nn.Module:
        """The same with what is zero by design made to speak (see `awaken`); shared likewise.

        A head or a residual branch that begins at zero hides what lies behind it from gradients and outputs.
        """
        model = self.build()
        awaken(model, self.seed)
        return model

    def run(
        self,
        model: torch.nn.Module,
        batch: Any,
        *,
        training: bool,
        seed: int | None = None,
        graph: bool = False,
    ) -> Outcome:
        """Send a batch through a model and leave mode, buffers and the caller's random state as they were.

        Args:
            model: Any of the sample's models.
            batch: It is not changed, whatever the model does to its input.
            training: Whether in training mode.
            seed: Of dropout and the like; the sample's own when None, so that two calls draw alike.
            graph: Whether the outcome carries its graph. Buffers are put back before it is used: a backward pass
                through running statistics needs a model in training mode inside `in_mode`.

        Raises:
            UserCodeError: If the user's code raises.
        """
        grad = torch.enable_grad() if graph else torch.no_grad()
        with seeded(self.seed if seed is None else seed), in_mode(model, training), grad:
            return run_batch(self.program.task, model, batch)

    @cached_property
    def first(self) -> Outcome:
        """What the first training step computes, without its graph."""
        return self.run(self.model, self.batches[0], training=True)

    @cached_property
    def family(self) -> LossFamily | None:
        """Which loss it is: by its name, else by what it computes; None when unknown.

        The number is that of the model whose zeros are filled: several losses agree on outputs of zero.
        """
        own = self.program.task.loss
        if known := declared_family(own):
            return known
        awake = self.run(self.awake, self.batches[0], training=True)
        return told_family(own, float(awake.scalar), awake.output, awake.target)

    @cached_property
    def targets(self) -> list[Any]:
        """What the batches' outputs are compared with: a step's may be of the first ones alone (see `targets_of`)."""
        return targets_of(self)

    def few(self, least: int) -> Any:
        """Return the first batch, or its first examples where the model's outputs for all of it are large.

        A language model's logits take gigabytes, and some probes hold several of them side by side.

        Args:
            least: Examples that the probe cannot do without.
        """
        batch, count = self.batches[0], example_count(self.batches[0])
        kept = max(least, count * _LARGE // max(byte_count(self.first.output), 1))
        if not self.train.collated or kept >= count or not self._takes_few:
            return batch
        return first_rows(batch, kept)

    @cached_property
    def _takes_few(self) -> bool:
        """Whether the program runs on fewer examples: a batch's size may be written into it."""
        try:
            self.run(self.model, first_rows(self.batches[0], 2), training=True)
        except LrtuneError:
            return False
        return True
