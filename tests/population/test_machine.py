from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from programs import blob_task

import lrtune
from lrtune.plan_file import PlanFile
from lrtune.population.machine import machine

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from lrtune.run_dir import RunDir

CPU = torch.device("cpu")


def test_says_what_times_depend_on() -> None:
    """Version, threads, cores and device, as plain values."""
    found = machine(CPU)
    assert json.loads(json.dumps(found)) == found
    assert found["torch"] == torch.__version__
    assert found["threads"] == torch.get_num_threads()
    assert str(found["device"]).startswith("cpu ")


def test_another_machine_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer cores, more threads or another torch make another machine."""
    here = machine(CPU)
    monkeypatch.setattr("lrtune.population.machine.usable_cores", lambda: 77)
    assert machine(CPU) == {**here, "cores": 77}
    monkeypatch.setattr(torch, "get_num_threads", lambda: 55)
    monkeypatch.setattr(torch, "__version__", "1.0")
    assert machine(CPU) == {**here, "cores": 77, "threads": 55, "torch": "1.0"}


def test_plans_are_kept_for_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe keeps and reads plans under what they were measured on."""
    asked: list[Mapping[str, Any]] = []

    class Recorded(PlanFile):
        def __init__(self, run_dir: RunDir | None, made_from: Mapping[str, Any]) -> None:
            asked.append(made_from)
            super().__init__(run_dir, made_from)

    monkeypatch.setattr("lrtune.recipe.PlanFile", Recorded)
    lrtune.check_init(blob_task(), lrtune.Config(device="cpu"))
    assert len(asked) == 1
    assert machine(CPU).items() <= asked[0].items()
    assert asked[0]["batch_size"] == 64
