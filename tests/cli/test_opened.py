from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from lrtune.cli.opened import read_config
from lrtune.cli.options import Common

if TYPE_CHECKING:
    from .conftest import Project

FAULTY = """\
from torch.utils.data import DataLoader
from toy import *

SHARED = build()

def both(): return task(step=lambda model, batch: model(batch[0]).sum())
def neither(): return task(loss=None)
def empty(): return task(train=data(0, 0))
def tensors(): return task(train=data(8, 0).tensors)
def generator(): return task(train=(batch for batch in [1]))
def instance(): return task(model=SHARED)
def shared(): return task(model=lambda: SHARED)
def no_module(): return task(model=lambda: "resnet")
def no_parameters(): return task(model=nn.Identity)
def nothing(): pass
def triples(): return task(train=[(torch.zeros(1, 2), torch.zeros(1), torch.zeros(1))])
def dicts(): return task(train=[{"x": torch.zeros(1, 2)}])
def no_batch(): return task(train=DataLoader(data(8, 0), batch_size=16, drop_last=True))
def float_loss(): return task(loss=lambda output, target: 1.0)
def text_step(): return task(loss=None, step=lambda model, batch: "loss")
def no_loss_in_step(): return task(loss=None, step=lambda model, batch: {"output": model(batch[0])})
def vector_metric(): return task(metrics={"hits": lambda output, target: output.argmax(1) == target})
def text_optimizer(): return task(optimizer=lambda model, lr, weight_decay: "sgd")
def takes(width): return task()
"""


@pytest.fixture
def faulty(project: Project) -> Project:
    """The project, with a file of tasks that cannot be used."""
    project.write("faulty.py", FAULTY)
    return project


def refused(project: Project, *arguments: str) -> str:
    """Assert that a request is refused properly, with and without --json; return the message."""
    for outcome in (project.lrtune(*arguments), project.lrtune(*arguments, "--json")):
        assert outcome.code == 2, outcome
        assert outcome.out == ""
        assert outcome.err.count("lrtune: error: ") == 1
        assert outcome.err.startswith("lrtune: error: ")
        assert "Traceback" not in outcome.err
    return outcome.err.removeprefix("lrtune: error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(
            ["no.yaml"], "no.yaml: no such file; CONFIG is a YAML file or a task such as", id="no such config"
        ),
        pytest.param(["no.py:make"], "task: no.py: no such file", id="no such task file"),
        pytest.param(
            ["toy.py"], "toy.py: name the function too, such as toy.py:make_task", id="no function named"
        ),
        pytest.param(
            ["toy.py:make_tsk"], "task: toy.py has no function 'make_tsk'; did you mean", id="no function"
        ),
        pytest.param(["no_such.module:f"], "task: no module named 'no_such'", id="no such module"),
        pytest.param(["."], ".: is a folder; CONFIG is a YAML file or a task", id="a folder"),
        pytest.param(
            ["toy.yaml", "--set", "task=zoo.py:f"], "task: zoo.py (from .): no such file", id="task in config"
        ),
        pytest.param(
            ["toy.yaml", "--set", "args.hidden=3"], "args.hidden: toy.py:make_task takes no such", id="args"
        ),
        pytest.param(["toy.yaml", "--set", "task="], "toy.yaml: task: missing", id="task left empty"),
        pytest.param(
            ["toy.yaml", "--set", "coarse.epoch=3"], "--set coarse.epoch: unknown key; did you", id="key"
        ),
        pytest.param(["toy.yaml", "--set", "seed"], "--set seed: expected KEY=VALUE", id="no value"),
        pytest.param(
            ["toy.yaml", "--set", "seed=x"], "--set seed: must be a whole number, found 'x'", id="type"
        ),
        pytest.param(
            ["toy.yaml", "--set", "coarse.lr=[0]"], "--set coarse.lr[0]: must be above 0", id="rate of 0"
        ),
        pytest.param(
            ["toy.yaml", "--set", "coarse.lr=[.1, -1]"], "--set coarse.lr[1]: must be above 0", id="rate < 0"
        ),
        pytest.param(
            ["toy.yaml", "--set", "coarse.lr=[.1"], "--set coarse.lr, line 1, column", id="broken value"
        ),
        pytest.param(
            ["toy.yaml", "--run-dir", "toy.py"], "run_dir: cannot write to toy.py: ", id="run dir is a file"
        ),
        pytest.param(
            ["toy.yaml", "--run-dir", "toy.py/out"],
            "run_dir: cannot write to toy.py/out: ",
            id="run dir below a file",
        ),
        pytest.param(
            ["toy.yaml", "--device", "gpu"], "--device: must be auto, cpu, cuda, cuda:N", id="device"
        ),
        pytest.param(
            ["toy.yaml", "--device", "cuda:99"], "device: 'cuda:99' was asked for and there ", id="cuda:99"
        ),
        pytest.param(
            ["toy.yaml", "--set", "optimizer={name: sgdd}"],
            "optimizer.name: torch.optim has no 'sgdd'; did you mean 'sgd'?",
            id="optimizer",
        ),
        pytest.param(
            ["toy.yaml", "--set", "optimizer={name: sgd, momentun: 0.9}"],
            "optimizer.momentun: torch.optim.SGD takes no such keyword; did you mean 'momentum'?",
            id="optimizer keyword",
        ),
        pytest.param(
            ["toy.yaml", "--set", "optimizer={name: sgd, lr: 0.1}"],
            "--set optimizer: 'lr' is what lrtune looks for",
            id="rate in optimizer",
        ),
        pytest.param(
            ["toy.yaml", "--set", "optimizer.name=lbfgs"], "optimizer.name: LBFGS needs a closure", id="lbfgs"
        ),
        pytest.param(
            ["toy.yaml", "--set", "optimizer.name='no.py:f'"],
            "optimizer: no.py (from .): no such",
            id="no optimizer",
        ),
        pytest.param(
            ["faulty.py:both"], "Task.loss, Task.step: give exactly one of the two, got both", id="both"
        ),
        pytest.param(
            ["faulty.py:neither"], "Task.loss, Task.step: one of the two is needed, got", id="neither"
        ),
        pytest.param(
            ["faulty.py:empty"], "Task.train: is empty (TensorDataset of length 0)", id="empty dataset"
        ),
        pytest.param(["faulty.py:tensors"], "Task.train: expected a Dataset, a DataLoader or", id="tensors"),
        pytest.param(
            ["faulty.py:generator"], "Task.train: expected a Dataset, a DataLoader or", id="generator"
        ),
        pytest.param(
            ["faulty.py:instance"], "Task.model: expected a function that builds the", id="model itself"
        ),
        pytest.param(["faulty.py:shared"], "Task.model: two calls returned the same module", id="same model"),
        pytest.param(
            ["faulty.py:no_module"], "Task.model: expected it to return an nn.Module, got str", id="no module"
        ),
        pytest.param(
            ["faulty.py:nothing"],
            "faulty.py:nothing: expected the function to return an lrtune.Task, got No",
            id="none",
        ),
        pytest.param(
            ["faulty.py:takes"], "args.width: faulty.py:takes needs this argument", id="missing argument"
        ),
        pytest.param(
            ["faulty.py:triples"], "Task.loss: needs batches (input, target), got 3 elements", id="triples"
        ),
        pytest.param(
            ["faulty.py:dicts"], "Task.loss: needs batches (input, target), got a dict with", id="dicts"
        ),
        pytest.param(["faulty.py:no_batch"], "Task.train: is empty (DataLoader of length 0)", id="no batch"),
        pytest.param(
            ["faulty.py:float_loss"], "Task.loss: expected it to return a Tensor, got float", id="float loss"
        ),
        pytest.param(
            ["faulty.py:text_step"], "Task.step: expected a Tensor or a dict, got str", id="step of text"
        ),
        pytest.param(
            ["faulty.py:no_loss_in_step"],
            "Task.step: expected a dict with a Tensor under 'loss', got the",
            id="no loss",
        ),
    ],
)
def test_bad_input_is_refused_with_one_message(faulty: Project, arguments: list[str], said: str) -> None:
    """Exit code 2, one message that says where and what, no traceback, nothing on stdout."""
    message = refused(faulty, "check-init", *arguments)
    assert message.startswith(said)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        pytest.param(
            "vector_metric", "Task.metrics['hits']: expected a scalar, got a tensor of shape [", id="metric"
        ),
        pytest.param(
            "text_optimizer", "Task.optimizer: expected it to return a torch.optim.Optimizer", id="optimizer"
        ),
        pytest.param("no_parameters", "Task.model: Identity has no parameters", id="no parameters"),
    ],
)
def test_what_only_training_shows_is_refused_too(faulty: Project, task: str, said: str) -> None:
    """A fault of the task that appears in a later step has the same single message."""
    assert refused(faulty, "grid", "--coarse", f"faulty.py:{task}", "--set", "coarse.lr=[0.1]").startswith(
        said
    )


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        pytest.param(
            "{name: sgd, momentum: -1}", "optimizer: torch.optim.SGD refuses its settings: ", id="value"
        ),
        pytest.param(
            "{name: adam, betas: 3}", "optimizer: torch.optim.Adam refuses its settings: ", id="type"
        ),
    ],
)
def test_a_setting_that_the_optimizer_refuses(project: Project, optimizer: str, said: str) -> None:
    """What torch says of a keyword's value is the message, as of any other fault of the config."""
    assert refused(project, "overfit", "toy.yaml", "--set", f"optimizer={optimizer}").startswith(said)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("command", [["run"], ["grid", "--coarse"], ["report"]], ids=" ".join)
def test_cuda_where_there_is_none(project: Project, command: list[str]) -> None:
    """The message names the device and the way out; nothing falls back silently."""
    message = refused(project, *command, "toy.yaml", "--device", "cuda")
    assert message.startswith("device: 'cuda' was asked for and there is no CUDA device here")
    assert message.endswith("use cpu or auto")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(
            "task: toy.py:make_task\nseed: 1\n  device: cpu\n", "x.yaml, line 3, column 9: not", id="syntax"
        ),
        pytest.param(
            "task: toy.py:make_task\nseed: 1\nseed: 2\n", "x.yaml, line 3, column 1: not", id="key twice"
        ),
        pytest.param("seed: 1\n", "x.yaml: task: missing", id="no task"),
        pytest.param("", "x.yaml: expected keys such as", id="empty file"),
        pytest.param(
            "task: toy.py:make_task\ncoarse: {lr: [0.1, 0.2, 0]}\n", "x.yaml: coarse.lr[2]: must", id="rate"
        ),
        pytest.param(
            "tsk: a\nseed: x\ncoarse: {epoch: 1}\n", "4 faults:\n  x.yaml: task: missing", id="all at once"
        ),
    ],
)
def test_a_config_with_faults(project: Project, text: str, said: str) -> None:
    """The file's faults are told with file, key path or line, all at once in one message."""
    project.write("x.yaml", text)
    assert refused(project, "run", "x.yaml").startswith(said)


@pytest.mark.parametrize("options", [[], ["--coarse", "--refine"]], ids=["neither", "both"])
def test_grid_needs_to_know_which(project: Project, options: list[str]) -> None:
    """`grid` takes exactly one of --coarse and --refine."""
    assert refused(project, "grid", "toy.yaml", *options) == "grid: give exactly one of --coarse and --refine"


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["run"], id="no CONFIG"),
        pytest.param(["run", "toy.yaml", "--fast"], id="unknown option"),
        pytest.param(["fit", "toy.yaml"], id="unknown command"),
        pytest.param(["run", "toy.yaml", "--seed", "x"], id="text for a number"),
        pytest.param(["run", "toy.yaml", "toy.yaml"], id="one too many"),
    ],
)
def test_a_wrong_command_line(project: Project, arguments: list[str]) -> None:
    """What the parser refuses has exit code 2, one error on stderr and nothing on stdout."""
    outcome = project.lrtune(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("Error") == 1
    assert "Traceback" not in outcome.err


def test_nothing_is_written_for_a_wrong_config(project: Project) -> None:
    """A refused configuration leaves no run directory behind."""
    refused(project, "run", "toy.yaml", "--set", "seed=x")
    assert not project.out.exists()


def test_a_bare_task_needs_no_config(project: Project) -> None:
    """`lrtune check-init toy.py:make_task` works with no file, and keeps results under the task's name."""
    outcome = project.lrtune("check-init", "toy.py:make_task", "--json", "--seed", "3")
    assert outcome.code == 0
    assert outcome.json["run_dir"] == "lrtune-runs/toy"
    assert (project.folder / "lrtune-runs" / "toy" / "check-init.json").is_file()


def test_options_override_the_file(project: Project) -> None:
    """--seed, --run-dir and --set lie over the file; a directory named like a number stays a name."""
    outcome = project.lrtune(
        *("check-init", "toy.yaml", "--json", "--seed", "5", "--run-dir", "2024", "--set", "batch_size=8")
    )
    assert (outcome.code, outcome.json["run_dir"]) == (0, "2024")
    made_from = project.read("2024/check-init.json")["made_from"]
    assert (made_from["seed"], made_from["batch_size"]) == (5, 8)


def test_a_task_path_starts_from_the_configs_folder(project: Project) -> None:
    """A config in another folder finds its task beside it; the run directory is the working directory's."""
    (project.folder / "configs").mkdir()
    project.write("configs/inner.yaml", "task: ../toy.py:make_task\ndevice: cpu\n")
    outcome = project.lrtune("check-init", "configs/inner.yaml", "--json")
    assert (outcome.code, outcome.json["run_dir"]) == (0, "lrtune-runs/inner")


def test_the_environment_names_a_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the command line OPTUNA_STORAGE counts where the settings name no storage."""
    monkeypatch.setenv("OPTUNA_STORAGE", "journal:x.log")
    assert read_config("toy.py:make_task", Common())[0].storage == "journal:x.log"
    named = Common(overrides=["storage=sqlite:///y.db"])
    assert read_config("toy.py:make_task", named)[0].storage == "sqlite:///y.db"
