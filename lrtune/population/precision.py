"""In which precision products are computed: `precision` of the configuration.

`float32` leaves torch as the user has set it. `tf32` lets CUDA's matrix products and convolutions round their factors
to 10 bits for the length of the work. `bfloat16` runs forward passes and losses under autocast, as a script with
`torch.autocast(device, torch.bfloat16)` does; parameters, their gradients and the optimizer's state stay as they are.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch

from lrtune.data.nest import map_nest
from lrtune.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from lrtune.task import Task

Precision = Literal["float32", "tf32", "bfloat16"]

_FIRST_WITH_TF32 = (8, 0)  # CUDA's compute capability: Ampere (NVIDIA, A100 Tensor Core GPU, 2020)


def check_precision(precision: Precision, device: torch.device) -> str | None:
    """Return what the user should know of a precision on a device, None where there is nothing to say.

    One file of settings is to serve a laptop and a machine with a GPU, so that what changes nothing is no error.

    Raises:
        ConfigError: If the device cannot compute in it.
    """
    if precision == "tf32" and not _knows_tf32(device):
        return f"precision: tf32 changes nothing on {device}, which has no such products"
    if precision == "bfloat16":
        if not torch.amp.is_autocast_available(device.type):
            raise ConfigError(f"precision: bfloat16 is not to be had on {device}; use float32")
        if device.type == "cuda" and torch.cuda.get_device_capability(device) < _FIRST_WITH_TF32:
            return f"precision: {device} computes bfloat16 in float32, which is right and slow"
    return None


def _knows_tf32(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= _FIRST_WITH_TF32


@contextmanager
def products_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Have CUDA compute products in TF32 for a block if that is asked for; torch's settings are as before after it."""
    if precision != "tf32" or device.type != "cuda":
        yield
        return
    settings = _settings()
    before = [getattr(holder, name) for holder, name, _ in settings]
    try:
        for holder, name, value in settings:
            setattr(holder, name, value)
        yield
    finally:
        for (holder, name, _), value in zip(settings, before, strict=True):
            setattr(holder, name, value)


def _settings() -> list[tuple[Any, str, Any]]:
    """Return which of torch's settings allow TF32, as (holder, attribute, value)."""
    backends: Any = torch.backends
    if hasattr(backends.cuda.matmul, "fp32_precision"):  # torch 2.9 and later, which warn of the older names
        holders = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        return [(holder, "fp32_precision", "tf32") for holder in holders]
    return [(holder, "allow_tf32", True) for holder in (backends.cuda.matmul, backends.cudnn)]


def autocasting(task: Task) -> AbstractContextManager[Any]:
    """Return the block in which a task's forward pass and loss run."""
    if task.autocast is None:
        return nullcontext()
    return torch.autocast(task.autocast, torch.bfloat16)


def widened(task: Task, nest: Any) -> Any:
    """Return what a model gives under autocast in float32: a loss of 8 bits would tell little, NumPy knows no bfloat16.

    What is in float32 already, and everything where there is no autocast, stays as it is.
    """
    return nest if task.autocast is None else map_nest(_wide, nest)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor
