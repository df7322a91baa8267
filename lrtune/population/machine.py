"""What a measured time depends on besides the program."""

from __future__ import annotations

import platform

import torch

from lrtune.population.sharded.cores import usable_cores


def machine(device: torch.device) -> dict[str, str | int]:
    """Return as plain values what a plan was measured on: on anything else it is not used."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor()
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cores": usable_cores(),
        "device": f"{device} {name or platform.machine()}",
    }
