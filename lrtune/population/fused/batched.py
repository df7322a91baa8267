"""What must hold around the user's forward pass while it runs over rows."""

from __future__ import annotations

import warnings
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_RULE = "There is a performance drop because we have not yet implemented the batching rule"


@contextmanager
def batched(device: torch.device, stacked: bool = False) -> Iterator[None]:
    """Keep torch to kernels that can run over rows; its settings are as before afterwards.

    Attention's own kernels have no batching rule on the CPU, nor has the fast path of `nn.MultiheadAttention` and
    `nn.TransformerEncoderLayer` in evaluation mode: torch would run them row by row. Any other kernel without a
    rule does run so, which is right, if slow; how slow the planner measures, and torch need not warn the user.

    Args:
        device: Where the rows are.
        stacked: Whether each member has a batch of its own.
    """
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with ExitStack() as settings:
            settings.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", message=_NO_RULE, category=UserWarning)
            if device.type != "cuda":  # the kernels there have rules
                settings.enter_context(sdpa_kernel([SDPBackend.MATH]))
            if stacked:
                settings.enter_context(_Padding())
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


class _Padding(TorchFunctionMode):
    """Keeps gradients from an embedding's padding, which its batching rule forgets where indices differ by member."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not F.embedding:
            return func(*args, **(kwargs or {}))
        return _embedded(*args, **(kwargs or {}))


def _embedded(
    indices: torch.Tensor, weight: torch.Tensor, padding_idx: int | None = None, *args: Any, **kwargs: Any
) -> torch.Tensor:
    found = F.embedding(indices, weight, None, *args, **kwargs)
    if padding_idx is None:
        return found
    padding = padding_idx % weight.shape[0]
    return torch.where((indices == padding).unsqueeze(-1), found.detach(), found)
