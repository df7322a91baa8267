"""How many examples a small model can learn by heart.

A linear map of n + 1 numbers an output interpolates as many examples in general position; more than that no rate and
no time will do, though nothing is wrong. The sample is then cut to what the parameters allow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count, first_rows
from lrtune.probes.initialisation import first_outcome

if TYPE_CHECKING:
    from lrtune.population.program import Program

_SHARE = 2  # parameters an example and output: at exactly one the system is as a rule ill-conditioned
_FEWEST = 2  # examples: one alone is learnt by a bias


def within_capacity(
    program: Program, model: torch.nn.Module, batches: list[Any], seed: int
) -> list[Any] | None:
    """Return as many examples as the model has parameters for, None where fewer would not help.

    Args:
        program: The task on its device.
        model: A throwaway one.
        batches: The sample, whose first dimensions run over examples.
        seed: Of dropout's random stream.
    """
    examples = sum(map(example_count, batches))
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    if parameters >= examples:
        return None
    with torch.no_grad():
        output = first_outcome(program, model, batches[0], seed).output
    outputs = output.numel() // max(example_count(batches[0]), 1) if isinstance(output, torch.Tensor) else 1
    left = max(parameters // (_SHARE * max(outputs, 1)), _FEWEST)
    if left >= examples:
        return None
    kept = []
    for batch in batches:
        kept.append(first_rows(batch, left))
        left -= example_count(kept[-1])
        if left <= 0:
            break
    return kept
