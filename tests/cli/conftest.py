"""A small project of a user, and the command line run in it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from lrtune.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

TOY = """\
import lrtune, torch
from torch import nn
from torch.utils.data import TensorDataset

def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(3, (count,), generator=generator)
    centres = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    return TensorDataset(centres[target] + 0.5 * torch.randn(count, 2, generator=generator), target)

def build():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3))

def accuracy(output, target):
    return (output.argmax(1) == target).float().mean()

def task(**fields):
    usual = dict(model=build, train=data(96, 0), val=data(48, 1), loss=nn.functional.cross_entropy)
    return lrtune.Task(**(usual | fields))

def make_task():
    return task(metrics={"accuracy": accuracy})
"""

CONFIG = """\
task: toy.py:make_task
device: cpu
batch_size: 16
run_dir: out
overfit: {batches: 1, steps: 300}
find_lr: {steps: 40, repeats: 2}
coarse: {weight_decay: [0, 1.0e-4], epochs: 1}
refine: {trials: 3, epochs: 1, seeds: 2, sampler: random}
population: {execution: serial}
"""


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """Stdout as the one JSON object that it must be; NaN and Infinity are refused."""
        return json.loads(self.out, parse_constant=pytest.fail)  # type: ignore[no-any-return]


class Project:
    """A folder with `toy.py` and `toy.yaml`, and `lrtune` started in it.

    Args:
        folder: Where to; what is there stays.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def lrtune(self, *arguments: str) -> Outcome:
        """Run the command line in this process: torch is imported once for all tests."""
        out, err = io.StringIO(), io.StringIO()
        with _inside(self.folder, ["lrtune", *arguments]), redirect_stdout(out), redirect_stderr(err):
            code = main()
        return Outcome(code, out.getvalue(), err.getvalue())

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the command line as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "lrtune", *arguments],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell that starts tests in the background has its children ignore SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def process(self, *arguments: str, **environment: str) -> Outcome:
        """Run the command line as a process of its own, to its end."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=120)
        return Outcome(process.returncode, out, err)

    def record(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the run directory, strictly."""
        return self.read(f"out/{name}")

    def read(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the project, strictly."""
        text = (self.folder / name).read_text(encoding="utf-8")
        return json.loads(text, parse_constant=pytest.fail)  # type: ignore[no-any-return]


@contextmanager
def _inside(folder: Path, arguments: list[str]) -> Iterator[None]:
    before = Path.cwd(), sys.argv, set(sys.modules)
    os.chdir(folder)
    sys.argv = arguments
    try:
        yield
    finally:
        os.chdir(before[0])
        sys.argv = before[1]
        for name in set(sys.modules) - before[2]:
            if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == folder:
                del sys.modules[name]  # files of one name come from many folders here


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small are trained fastest without company."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _made(folder: Path) -> Project:
    project = Project(folder)
    project.write("toy.py", TOY)
    project.write("toy.yaml", CONFIG)
    return project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing has been run yet."""
    return _made(tmp_path)


@pytest.fixture(scope="session")
def _first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Outcome]:
    project = _made(tmp_path_factory.mktemp("project"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    outcome = project.lrtune("run", "toy.yaml", "--json")
    torch.set_num_threads(threads)
    return project, outcome


@pytest.fixture(scope="session")
def first_run(_first_run: tuple[Project, Outcome]) -> Outcome:
    """What `lrtune run toy.yaml --json` printed and returned."""
    return _first_run[1]


@pytest.fixture
def finished(_first_run: tuple[Project, Outcome], tmp_path: Path) -> Project:
    """A copy of the project after that run."""
    shutil.copytree(_first_run[0].folder, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)
