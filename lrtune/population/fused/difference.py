"""How far two tensors may be apart that are the same number computed by other kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

# Relative to the largest entry, of one pass forward and back from equal parameters. Over the families of layers in
# tests/layer_families.py the largest found in float32 is 1.2e-4, in float64 1e-15, in half precision 6e-3 and in
# bfloat16 3e-2; ten and more layers under batch norms of few examples give more, which float64 then decides. Running
# statistics that one execution forgets differ by 1. An accelerator's float32 products round to 10 bits (TF32).
_TOLERANCES = {torch.float64: 1e-8, torch.float32: 1e-3, torch.float16: 5e-2, torch.bfloat16: 2e-1}
_ROUNDED_PRODUCTS = 1e-2
_LAST_BITS = 8  # roundings of an update that is added to a value
_COMPLEX = {torch.complex128: torch.float64, torch.complex64: torch.float32, torch.complex32: torch.float16}


def tolerance(tensors: Sequence[torch.Tensor]) -> float:
    """Return what a model of these tensors may differ by: the coarsest type's."""
    types = {_COMPLEX.get(one.dtype, one.dtype) for one in tensors}
    loosest = max(
        (_TOLERANCES[one] for one in types if one in _TOLERANCES), default=_TOLERANCES[torch.float32]
    )
    accelerated = any(one.device.type != "cpu" for one in tensors) and torch.float32 in types
    return max(loosest, _ROUNDED_PRODUCTS) if accelerated else loosest


def difference(found: torch.Tensor, wanted: torch.Tensor, floor: float = 0.0) -> float:
    """Return the largest difference relative to the largest entry, infinite where no comparison is possible.

    What is finite in neither is equal: both have diverged.

    Args:
        found: A tensor.
        wanted: What it should be.
        floor: The least that is taken for the largest entry.
    """
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return torch.inf
    if torch.equal(found, wanted):  # most are
        return 0.0
    finite = torch.isfinite(wanted)
    if not torch.equal(finite, torch.isfinite(found)):
        return torch.inf
    if not (wanted.is_floating_point() or wanted.is_complex()):
        return torch.inf
    apart = largest((found.detach() - wanted.detach())[finite])
    scale = max(largest(wanted[finite]), floor)
    return apart / scale if scale else torch.inf if apart else 0.0


def update_difference(
    found: torch.Tensor, wanted: torch.Tensor, before: torch.Tensor, allowed: float
) -> float:
    """Return the difference of two updated tensors relative to the update, a few last bits of the values apart."""
    comparable = found.shape == before.shape == wanted.shape and found.dtype == before.dtype == wanted.dtype
    if not comparable or not (wanted.is_floating_point() or wanted.is_complex()):
        return difference(found, wanted)
    if torch.equal(found, wanted):
        return 0.0
    kept = largest(before[torch.isfinite(before)]) if before.numel() else 0.0
    floor = _LAST_BITS * torch.finfo(wanted.dtype).eps * kept / allowed
    return difference(found.detach() - before, wanted.detach() - before, floor)


def largest(tensor: torch.Tensor) -> float:
    """Return the largest magnitude of a tensor, 0 of an empty one."""
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0
