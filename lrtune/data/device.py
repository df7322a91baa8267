"""Which device the work runs on, and how much memory is free there."""

from __future__ import annotations

from pathlib import Path

import torch

from lrtune.errors import ConfigError

_FALLBACK_BYTES = 2 * 2**30  # assumed free where the system does not say


def resolve_device(name: str) -> torch.device:
    """Return the device that `auto | cpu | cuda | cuda:N | mps` stands for on this machine.

    Raises:
        ConfigError: If it is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        return _cuda(name, device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device: 'mps' was asked for and there is none here; use cpu or auto")
    return device


def _cuda(name: str, device: torch.device) -> torch.device:
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else f" (this torch, {torch.__version__}, is built without CUDA)"
        raise ConfigError(
            f"device: '{name}' was asked for and there is no CUDA device here{built}; use cpu or auto"
        )
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise ConfigError(
            f"device: '{name}' was asked for and there are {count} here (cuda:0 to cuda:{count - 1})"
        )
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def free_bytes(device: torch.device) -> int:
    """Return how many bytes of memory can be taken on the device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return _FALLBACK_BYTES
