from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import torch

from lrtune.population.sharded.cores import usable_cores, why_not_forked

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "version 2, two cores": ({"cpu.max": "200000 100000\n"}, 2),
    "version 2, one and a half": ({"cpu.max": "150000 100000\n"}, 2),
    "version 2, a tenth": ({"cpu.max": "10000 100000\n"}, 1),
    "version 2, no limit": ({"cpu.max": "max 100000\n"}, 8),
    "version 1, three cores": ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
    "version 1, no limit": ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    "more than there are": ({"cpu.max": "6400000 100000\n"}, 8),
    "nothing there": ({}, 8),
    "nonsense": ({"cpu.max": "a lot\n"}, 8),
}


@pytest.mark.parametrize(("files", "cores"), FILES.values(), ids=FILES)
def test_quotas(files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight cores as many are used as the control group's quota allows, and at least one."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == cores


def test_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is tied to one core has one, however many the machine has."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert usable_cores(tmp_path) == 1


def test_without_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that cannot fork is refused with that reason."""
    assert why_not_forked(torch.device("cpu")) is None
    monkeypatch.delattr(os, "fork")
    assert why_not_forked(torch.device("cpu")) == "this system cannot fork a process"


def test_cuda_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has CUDA in use is not forked, and neither are members on an accelerator."""
    assert why_not_forked(torch.device("cuda")) == "worker processes share no cuda device"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert "CUDA is in use" in str(why_not_forked(torch.device("cpu")))
