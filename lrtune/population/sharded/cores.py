"""How many cores this process may use, and whether it can be forked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

_CONTROL_GROUPS = Path("/sys/fs/cgroup")


def usable_cores(root: Path = _CONTROL_GROUPS) -> int:
    """Return how many cores this process may keep busy: those of its affinity, within its control group's quota.

    Args:
        root: Where control groups are mounted, version 2 or 1. A container sees its own group there.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    quota = _quota(root)
    return max(1, cores if quota is None else min(cores, round(quota)))


def _quota(root: Path) -> float | None:
    """Return the cores' worth of time that the group may take, None where nothing limits it."""
    for read in (_version_2, _version_1):
        try:
            return read(root)
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return None


def _version_2(root: Path) -> float | None:
    limit, period = (root / "cpu.max").read_text().split()
    return None if limit == "max" else int(limit) / int(period)


def _version_1(root: Path) -> float | None:
    limit, period = (int((root / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
    return None if limit < 0 else limit / period


def why_not_forked(device: torch.device) -> str | None:
    """Return in a line why worker processes cannot share this process's task by forking it; None if they can."""
    if not hasattr(os, "fork") or sys.platform == "win32":
        return "this system cannot fork a process"
    if device.type != "cpu":
        return f"worker processes share no {device.type} device"
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return "CUDA is in use, which does not survive the fork of a worker process"
    return None
