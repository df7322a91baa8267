"""K members' parameters and buffers, each stacked along a first dimension: row k is member k's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lrtune.random_state import RandomStream

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrtune.population.program import Program
    from lrtune.population.protocol import Member, State


class CannotFuseError(Exception):
    """The members cannot be trained as one program; says why, for the planner, which then takes another execution."""


class Stack:
    """The members' tensors, and a model that lends them its code.

    Frozen tensors that are the same in every member, as those of a loaded backbone, are held once.

    Args:
        program: Builds a model a member.
        members: Whose initialisations are stacked.

    Attributes:
        model: The module whose forward pass is used; its own values mean nothing.
        trained: Parameters that require a gradient, `[members, *shape]`, leaves.
        varied: Everything else that differs or may come to differ between members, `[members, *shape]`.
        shared: Frozen parameters that are equal in all members, `[*shape]`.

    Raises:
        CannotFuseError: If the members' models differ in more than their values.
    """

    def __init__(self, program: Program, members: Sequence[Member]) -> None:
        rows: list[_Row] = []
        for member in members:
            with RandomStream(member.seed):
                self.model = program.build_model()
            rows.append(_Row(self.model))
        first = rows[0]
        if any(row.signature != first.signature for row in rows):
            raise CannotFuseError("the members' models differ in the names, shapes or types of their tensors")
        if not first.trained:
            raise CannotFuseError("no parameter requires a gradient")
        self.trained = {name: _stacked(rows, name).requires_grad_() for name in first.trained}
        self.varied = {name: _stacked(rows, name) for name in first.buffers}
        self.shared: dict[str, torch.Tensor] = {}
        for name in first.frozen:
            if all(torch.equal(row.values[name], first.values[name]) for row in rows):
                self.shared[name] = first.values[name].clone()
            else:
                self.varied[name] = _stacked(rows, name)

    @property
    def members(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.trained.values())))

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all other rows."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=next(iter(self.trained.values())).device)
        self.trained = {
            name: stacked.detach()[index].requires_grad_() for name, stacked in self.trained.items()
        }
        self.varied = {name: stacked[index] for name, stacked in self.varied.items()}

    def varied_copy(self) -> dict[str, torch.Tensor]:
        """Return what forward passes that are no training steps may move."""
        return {name: stacked.clone() for name, stacked in self.varied.items()}

    def state(self, member: int) -> State:
        """Return one member's state_dict, as views; tied tensors under each of their names."""
        row = self.row(member)
        names = {id(one): name for name, one in (*self.model.named_parameters(), *self.model.named_buffers())}
        state = self.model.state_dict(keep_vars=True)
        return {key: row[names[id(one)]] if id(one) in names else one.detach() for key, one in state.items()}

    def row(self, member: int) -> State:
        """Return one member's tensors, as views, tied ones under their first name."""
        own = {name: stacked.detach()[member] for name, stacked in {**self.trained, **self.varied}.items()}
        return own | self.shared


class _Row:
    """One model's tensors, before they are stacked."""

    def __init__(self, model: torch.nn.Module) -> None:
        parameters = dict(model.named_parameters())
        buffers = dict(model.named_buffers())
        self.trained = [name for name, one in parameters.items() if one.requires_grad]
        self.frozen = [name for name, one in parameters.items() if not one.requires_grad]
        self.buffers = list(buffers)
        self.values = {name: one.detach() for name, one in {**parameters, **buffers}.items()}
        self.signature = (
            self.trained,
            self.frozen,
            [(name, one.shape, one.dtype, one.device) for name, one in self.values.items()],
        )


def _stacked(rows: Sequence[_Row], name: str) -> torch.Tensor:
    return torch.stack([row.values[name] for row in rows])


def write_row(model: torch.nn.Module, row: Mapping[str, torch.Tensor]) -> None:
    """Give a model one member's values."""
    held = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    with torch.no_grad():
        for name, value in row.items():
            held[name].copy_(value)
