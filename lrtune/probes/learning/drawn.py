"""Whether a program draws what is to be predicted: the noise of a diffusion model, the latent code of a VAE or a GAN.

No sample of such an objective can be learnt by heart, since it is another one at every call.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.forward import run_batch
from lrtune.population.modes import in_mode
from lrtune.probes.model.quiet import DropoutCalls, without_dropout
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from lrtune.population.program import Program

_CALLS = 3  # two may agree by chance where a step draws one of few cases
_SAME = 1e-4  # relative: kernels whose sums depend on the order of threads


def is_drawn(program: Program, model: torch.nn.Module, batch: Any, seed: int) -> bool:
    """Say whether the loss of one batch in evaluation mode depends on the random seed.

    Args:
        program: The task on its device.
        model: Left as it is.
        batch: Any.
        seed: The first of the seeds.
    """
    return _varies(program, model, batch, seed, training=False)


def is_drawn_in_training(program: Program, batch: Any, seed: int) -> bool:
    """Say whether the loss of one batch in training mode depends on the seed for more than dropout.

    A latent code is the mean in evaluation mode, views of images are made in training alone: what draws there has no
    floor either. Dropout is no such draw, since a model learns its sample by heart in spite of it.

    Args:
        program: The task on its device.
        batch: Any.
        seed: The first of the seeds, and that of a throwaway model.
    """
    with seeded(seed):
        model = without_dropout(program.build_model())
    return _varies(program, model, batch, seed, training=True)


def _varies(program: Program, model: torch.nn.Module, batch: Any, seed: int, training: bool) -> bool:
    losses = []
    for call in range(_CALLS):
        quiet = DropoutCalls(model, off=True) if training else nullcontext()
        with seeded(seed + call), in_mode(model, training), torch.no_grad(), quiet:
            losses.append(float(run_batch(program.task, model, batch).scalar))
    return max(losses) - min(losses) > _SAME * max(map(abs, losses))
