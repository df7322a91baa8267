"""Whether a step draws what is to be predicted: the noise of a diffusion model, the latent code of a VAE or a GAN.

No sample of such an objective can be learnt by heart, since it is another one at every call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.forward import run_batch
from lrtune.population.modes import in_mode
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
    losses = []
    for call in range(_CALLS):
        with seeded(seed + call), in_mode(model, training=False), torch.no_grad():
            losses.append(float(run_batch(program.task, model, batch).scalar))
    return max(losses) - min(losses) > _SAME * max(map(abs, losses))
