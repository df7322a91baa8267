from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import lrtune

if TYPE_CHECKING:
    from .conftest import Project

RAISING = """\
from torch.utils.data import DataLoader, Dataset
from toy import *

class Bad(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 3)

    def forward(self, inputs):
        raise KeyError("boom")  # forward

class Unstable(nn.Linear):
    @staticmethod
    def build():
        raise ValueError("boom")  # build

class Data(Dataset):
    def __len__(self):
        return 32

    def __getitem__(self, index):
        return torch.zeros(2), [1][index]  # getitem

class Batches:
    def __iter__(self):
        yield from DataLoader(data(8, 0), 8)
        raise OSError("boom")  # iterable

class Backward(torch.autograd.Function):
    @staticmethod
    def forward(context, inputs):
        return inputs.sum()

    @staticmethod
    def backward(context, gradient):
        raise RuntimeError("boom")  # backward

class Optimizer(torch.optim.SGD):
    def step(self, closure=None):
        raise RuntimeError("boom")  # optimizer-step

def bad_loss(output, target):
    return output[999999].sum()  # loss

def bad_step(model, batch):
    return model(batch["image"])  # step

def bad_metric(output, target):
    raise RuntimeError("boom")  # metric

def bad_optimizer(model, lr, weight_decay):
    raise RuntimeError("boom")  # optimizer

def forward(): return task(model=Bad)
def build_(): return task(model=Unstable.build)
def getitem(): return task(train=Data())
def iterable(): return task(train=Batches())
def loss(): return task(loss=bad_loss)
def step(): return task(loss=None, step=bad_step)
def metric(): return task(metrics={"m": bad_metric})
def optimizer(): return task(optimizer=bad_optimizer)
def optimizer_step(): return task(optimizer=lambda model, lr, wd: Optimizer(model.parameters(), lr))
def backward(): return task(loss=lambda output, target: Backward.apply(output))
def validation(): return task(val=Data())

def calling():
    raise RuntimeError("boom")  # calling
"""

COARSE = ["grid", "--coarse", "--set", "coarse.lr=[0.1]"]
ALIKE = "the first 3 trials all failed alike, and the sweep stops: "


@pytest.mark.parametrize(
    ("command", "task", "marked", "said"),
    [
        pytest.param(
            ["check-init"], "calling", "calling", "RuntimeError while calling raising.py:call", id="function"
        ),
        pytest.param(
            ["check-init"], "build_", "build", "ValueError while building the task's model: boom", id="build"
        ),
        pytest.param(
            ["check-init"], "forward", "forward", "KeyError while calling the model: 'boom'", id="forward"
        ),
        pytest.param(
            ["overfit"], "forward", "forward", "KeyError while calling the model: 'boom'", id="in overfit"
        ),
        pytest.param(
            ["find-lr"], "forward", "forward", "KeyError while calling the model: 'boom'", id="in find-lr"
        ),
        pytest.param(
            COARSE, "forward", "forward", f"{ALIKE}KeyError while calling the model: 'boom'", id="in the grid"
        ),
        pytest.param(["run"], "forward", "forward", "KeyError while calling the model: 'boom'", id="in run"),
        pytest.param(
            ["check-init"], "loss", "loss", "IndexError while calling the task's loss (output ", id="loss"
        ),
        pytest.param(["check-init"], "step", "step", "TypeError while calling the task's step: ", id="step"),
        pytest.param(["check-init"], "getitem", "getitem", "IndexError while reading ", id="dataset"),
        pytest.param(
            ["check-init"], "iterable", "iterable", "OSError while reading a batch of Task.tr", id="iterable"
        ),
        pytest.param(
            ["overfit"], "backward", "backward", "RuntimeError while backpropagating the lo", id="backward"
        ),
        pytest.param(
            ["overfit"], "optimizer", "optimizer", "RuntimeError while calling the task's op", id="optimizer"
        ),
        pytest.param(
            ["overfit"], "optimizer_step", "optimizer-step", "RuntimeError while stepping", id="its step"
        ),
        pytest.param(COARSE, "validation", "getitem", "IndexError while reading ", id="validation data"),
        pytest.param(
            COARSE, "metric", "metric", f"{ALIKE}RuntimeError while calling the metric 'm': boom", id="metric"
        ),
    ],
)
def test_what_the_users_code_raises_is_shown_from_its_first_line_on(
    project: Project, command: list[str], task: str, marked: str, said: str
) -> None:
    """Exit code 3; stderr begins with the traceback from the user's file, and ends with what was being done."""
    project.write("raising.py", RAISING)
    outcome = project.lrtune(*command, f"raising.py:{task}", "--json", "--quiet")
    assert (outcome.code, outcome.out) == (3, "")
    lines = outcome.err.splitlines()
    line = next(number for number, text in enumerate(RAISING.splitlines(), 1) if text.endswith(f"# {marked}"))
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].startswith(f'  File "{project.folder}/')
    assert any(text.startswith(f'  File "{project.folder}/raising.py", line {line}, in ') for text in lines)
    assert lines[-1].startswith(f"lrtune: error: {said}")
    assert outcome.err.count("Traceback") == 1
    assert str(lrtune.__path__[0]) not in outcome.err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("x = 1\n1 / 0\n", "ZeroDivisionError while importing raising.py: ", id="raises"),
        pytest.param(
            "import lrtune\nimport nowhere\n", "ModuleNotFoundError while importing raising.py: ", id="import"
        ),
        pytest.param("x = 1\ndef f(:\n", "SyntaxError while importing raising.py: ", id="syntax"),
        pytest.param("import sys\nsys.exit(0)\n", "SystemExit while importing raising.py: 0", id="exits"),
    ],
)
def test_a_file_that_cannot_be_imported(project: Project, source: str, said: str) -> None:
    """Exit code 3 and the line in the user's file; a script that calls sys.exit(0) does not pass for a success."""
    project.write("raising.py", source)
    outcome = project.lrtune("check-init", "raising.py:make")
    assert (outcome.code, outcome.out) == (3, "")
    lines = outcome.err.splitlines()
    assert lines[0].startswith(("Traceback", "  File"))
    files = [text.strip() for text in lines if text.startswith("  File ")]
    assert files[0].startswith(f'File "{project.folder}/raising.py", line 2')
    assert lines[-1].startswith(f"lrtune: error: {said}")


def test_debug_shows_lrtunes_frames_too(project: Project) -> None:
    """With --debug the traceback is whole, also of a wrong config; the exit codes stay."""
    project.write("raising.py", RAISING)
    outcome = project.lrtune("check-init", "raising.py:forward", "--debug")
    assert outcome.code == 3
    assert "steps/check_init.py" in outcome.err
    outcome = project.lrtune("check-init", "no.yaml", "--debug")
    assert outcome.code == 2
    assert "Traceback" in outcome.err


def test_one_cell_that_raises_leaves_the_others(project: Project) -> None:
    """Code that raises at one rate alone is a failed trial and a warning, not the end."""
    project.write(
        "raising.py",
        "from toy import *\n"
        "def fussy(model, lr, weight_decay):\n"
        "    optimizer = torch.optim.SGD(model.parameters(), lr)\n"
        "    if lr > 0.2:\n"
        "        optimizer.step = lambda: 1 / 0\n"
        "    return optimizer\n"
        "def make(): return task(optimizer=fussy)\n",
    )
    outcome = project.lrtune("grid", "--coarse", "raising.py:make", "--json", "--set", "coarse.lr=[0.1, 0.3]")
    assert outcome.code == 0
    states = {trial["lr"]: trial["state"] for trial in outcome.json["summary"]["trials"]}
    assert (states[0.1], states[0.3]) == ("complete", "failed")
    assert "trial-failed" in [finding["code"] for finding in outcome.json["findings"]]
