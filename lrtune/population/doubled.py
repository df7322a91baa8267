"""A program in float64: where float32 leaves open whether two ways to compute are one, its rounding decides."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from lrtune.data.nest import map_nest

if TYPE_CHECKING:
    from lrtune.population.program import Program


def in_double(program: Program) -> Program | None:
    """Return a program with models in float64; None where there is none, or they are so already."""
    model, first_batch = program.task.model, program.first_batch
    if program.device.type == "mps" or next(model().parameters()).dtype != torch.float32:
        return None
    task = copy.copy(program.task)  # dataclasses.replace would give it another identity (its token)
    object.__setattr__(task, "model", lambda: model().double())
    first = None if first_batch is None else lambda: map_nest(double, first_batch())
    return replace(program, task=task, first_batch=first)


def double(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in float64 if it is in float32."""
    return tensor.double() if tensor.dtype == torch.float32 else tensor
