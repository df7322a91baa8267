"""Layers that are built while a batch goes through a model: each pass draws other weights, and none is trained."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch.nn.modules.module import register_module_parameter_registration_hook

from lrtune.probes.model.user_line import user_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import torch
    from torch import nn


@dataclass(frozen=True)
class Built:
    """A parameter that was registered under way.

    Attributes:
        module: The layer that registered it; held, so that no id is used twice.
        name: Of the parameter.
        parameter: Itself.
        line: `file:line` of the user's code that builds the layer.
    """

    module: nn.Module
    name: str
    parameter: nn.Parameter
    line: str


@contextmanager
def building() -> Iterator[list[Built]]:
    """Note every parameter that any module registers inside the block."""
    built: list[Built] = []

    def note(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            built.append(Built(module, name, parameter, user_line()))

    handle = register_module_parameter_registration_hook(note)
    try:
        yield built
    finally:
        handle.remove()


def anew(built: Sequence[Built], passes: Sequence[dict[int, torch.Tensor]], held: set[int]) -> list[str]:
    """Return the layers that every pass has built for itself and computed its loss from.

    Args:
        built: What was registered in all the passes.
        passes: The leaves of each pass's loss, by id.
        held: Ids of the parameters that the model or the optimizer holds now: a layer built at first use stays.
    """
    in_each = []
    for leaves in passes:
        used = [one for one in built if id(one.parameter) in leaves and id(one.parameter) not in held]
        in_each.append(dict.fromkeys(map(_told, _drawn(used))))
    return [told for told in in_each[0] if all(told in others for others in in_each[1:])]


def _drawn(built: list[Built]) -> list[Built]:
    """Leave out constants, such as a state of zeros, and networks in evaluation mode, which judge and do not learn."""
    matrices = [one for one in built if one.parameter.ndim > 1 and one.parameter.numel() > 1]
    return [one for one in matrices if one.module.training and float(one.parameter.detach().std()) > 0]


def _told(one: Built) -> str:
    where = f" at {one.line}" if one.line else ""
    return f"{type(one.module).__name__} ({one.name} {list(one.parameter.shape)}){where}"
