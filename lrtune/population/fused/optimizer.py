"""From the program's optimizer to one that updates the stack's rows."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from lrtune.population.fused.stack import CannotFuseError
from lrtune.population.optimizers import NamedOptimizer
from lrtune.population.row_optimizers import InstanceRows, row_optimizer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from lrtune.population.fused.stack import Stack
    from lrtune.population.program import Program
    from lrtune.population.protocol import Member
    from lrtune.population.row_optimizers import RowOptimizer


def optimizer_on_rows(program: Program, stack: Stack, members: Sequence[Member]) -> RowOptimizer:
    """Return the program's optimizer on rows; one without such a version runs as an instance a member.

    Raises:
        CannotFuseError: If it holds parameters that are not the model's.
        UserCodeError: If building it raises.
    """
    parameters = list(stack.trained.values())
    if isinstance(program.optimizer, NamedOptimizer):
        on_rows = row_optimizer(program.optimizer.cls, program.optimizer.keywords)
        if on_rows is not None:
            return on_rows(parameters)
    names = list(stack.trained)

    def build(row: int, leaves: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        member = members[row]
        model = _with_parameters(stack.model, dict(zip(names, leaves, strict=True)))
        optimizer = program.build_optimizer(model, member.rate_at(0), member.weight_decay)
        own = {id(leaf) for leaf in model.parameters()}
        if any(id(leaf) not in own for group in optimizer.param_groups for leaf in group["params"]):
            raise CannotFuseError("the optimizer holds parameters that are not the model's")
        return optimizer

    scheduled = any(member.schedule for member in members)
    rates = [member.rate_at(0) for member in members]
    return InstanceRows(parameters, build, rates, program.fixed_groups if scheduled else ())


def _with_parameters(model: torch.nn.Module, own: dict[str, torch.nn.Parameter]) -> torch.nn.Module:
    """Return a copy of a model that holds these parameters, tied ones at each of their places."""
    copied = copy.deepcopy(model)
    replaced = {id(one): own[name] for name, one in copied.named_parameters() if name in own}
    for module in copied.modules():
        for name, one in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(one) in replaced:
                module.register_parameter(name, replaced[id(one)])
    return copied
