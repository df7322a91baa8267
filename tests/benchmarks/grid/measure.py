"""One peer on one workload in a process of its own, so that neither memory nor warmth passes from peer to peer.

`measured` starts the process; `python -m benchmarks.grid.measure SPECIFICATION RESULT` is what it runs.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.grid.workload import Workload

TESTS = Path(__file__).resolve().parents[2]
_MEBIBYTE = 2**20 if sys.platform == "darwin" else 2**10  # in the units of ru_maxrss


@dataclass(frozen=True)
class Specification:
    """What is to be measured.

    Attributes:
        peer: Name of `PEERS`.
        workload: Name of its file.
        members: How many, in place of the workload's grid.
        examples: How many, in place of the workload's.
        epochs: In place of the workload's.
    """

    peer: str
    workload: str
    members: int | None = None
    examples: int | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Measured:
    """How a peer did.

    Attributes:
        seconds: Wall-clock time of its run; processes that it starts, their imports included.
        grid_seconds: From the first member's start to the last one's end where it starts processes, else the same.
        cpu_seconds: Of the process and of those it has started and waited for.
        added_mebibytes: By how much the run raised the peak memory of this process over that before it.
        peak_mebibytes: Of this process or of the largest that it started.
        losses: On the validation set, by member.
        problem: Why there is none of this; empty where there is.
        skipped: Whether the problem is only that the peer is not there.
    """

    seconds: float = 0.0
    grid_seconds: float = 0.0
    cpu_seconds: float = 0.0
    added_mebibytes: float = 0.0
    peak_mebibytes: float = 0.0
    losses: tuple[float, ...] = ()
    problem: str = ""
    skipped: bool = False


def measured(specification: Specification) -> Measured:
    """Measure in a new process with one thread."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        words = [
            sys.executable,
            "-m",
            "benchmarks.grid.measure",
            json.dumps(asdict(specification)),
            str(result),
        ]
        path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        finished = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        if not result.exists():
            sys.stderr.write(finished.stderr)
            last = finished.stderr.strip().splitlines()[-1:]
            return Measured(problem=f"ended with code {finished.returncode}: {''.join(last)}")
        return Measured(**json.loads(result.read_text()))


def measured_here(specification: Specification) -> Measured:
    """Measure in this process."""
    import torch
    from benchmarks.grid.peer import PEERS
    from benchmarks.grid.workload import NotSameWorkError, load_workload

    torch.set_num_threads(1)
    peer = PEERS[specification.peer]
    workload = _changed(load_workload(specification.workload), specification)
    try:
        module = peer.load()
        if not peer.starts_processes:
            task = workload.task()
            # The same data at each call: making them is nobody's work. The warm-up brings the imports that PyTorch and
            # lrtune put off to their first step.
            workload = replace(workload, task=lambda: task)
            with suppress(NotSameWorkError):
                module.run(warm_up(), **peer.keywords)
        return _timed(module, workload, peer.keywords)
    except (ModuleNotFoundError, NotImplementedError) as error:
        return Measured(problem=str(error), skipped=True)
    except NotSameWorkError as error:
        return Measured(problem=str(error))


def _timed(module: Any, workload: Workload, keywords: Any) -> Measured:
    before, cpu_before, started = _peaks()[0], _cpu_seconds(), time.perf_counter()
    if hasattr(module, "run_timed"):
        losses, grid_seconds = module.run_timed(workload, **keywords)
    else:
        losses, grid_seconds = module.run(workload, **keywords), None
    seconds = time.perf_counter() - started
    own, children = _peaks()
    return Measured(
        seconds=seconds,
        grid_seconds=seconds if grid_seconds is None else grid_seconds,
        cpu_seconds=_cpu_seconds() - cpu_before,
        added_mebibytes=own - before,
        peak_mebibytes=max(own, children),
        losses=tuple(losses),
    )


def warm_up() -> Workload:
    """Return a grid of two members on a few random examples, unlike any workload."""
    import torch
    from benchmarks.grid.workload import Workload
    from torch import nn
    from torch.utils.data import TensorDataset

    import lrtune

    examples = TensorDataset(torch.randn(64, 3), torch.randn(64, 1))
    task = lrtune.Task(
        model=lambda: nn.Linear(3, 1), train=examples, val=examples, loss=nn.functional.mse_loss
    )
    return Workload("warm_up", lambda: task, {"name": "sgd"}, 32, 1, (0.001, 0.002), (0.0,))


def _changed(workload: Workload, specification: Specification) -> Workload:
    if specification.members is not None:
        workload = workload.with_members(specification.members)
    if specification.examples is not None:
        workload = workload.with_examples(specification.examples)
    return replace(workload, epochs=specification.epochs or workload.epochs)


def _peaks() -> tuple[float, float]:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own, children = (resource.getrusage(kind).ru_maxrss / _MEBIBYTE for kind in kinds)
    return own, children


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main() -> None:
    """Measure what the first argument says; write the result to the file that the second one names."""
    specification = Specification(**json.loads(sys.argv[1]))
    Path(sys.argv[2]).write_text(json.dumps(asdict(measured_here(specification))))


if __name__ == "__main__":
    main()
