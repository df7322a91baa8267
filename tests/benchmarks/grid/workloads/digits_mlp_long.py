"""The tiny one for four times as many epochs: what a tool spends once a member or once a grid weighs less."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.grid.workloads import digits_mlp

WORKLOAD = replace(digits_mlp.WORKLOAD, name="digits_mlp_long", epochs=20)
