from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from programs import Constant, Notes, blob_task, blobs, codes, generator, linear_task, mlp, trained_alone
from torch import nn
from torch.utils.data import DataLoader

import lrtune
from lrtune.errors import ConfigError, RunDirError, TaskError, UserCodeError
from lrtune.recipe import Recipe
from lrtune.reporting import report_run_dir
from lrtune.results import STEPS

SMALL: dict[str, Any] = {
    "device": "cpu",
    "batch_size": 16,
    "overfit": {"batches": 2, "steps": 100},
    "find_lr": {"steps": 40, "repeats": 2},
    "coarse": {"weight_decay": [0.0, 1e-4], "epochs": 1},
    "refine": {"trials": 4, "epochs": 1, "seeds": 2},
    # What is measured to be faster differs from run to run, and last digits with it.
    "population": {"execution": "serial"},
}
FUNCTIONS = {
    "check-init": lrtune.check_init,
    "overfit": lrtune.overfit,
    "find-lr": lrtune.find_lr,
    "coarse-grid": lrtune.coarse_grid,
    "refine-grid": lrtune.refine_grid,
    "report": lrtune.report,
    "run": lrtune.run,
}


def config(**keys: Any) -> lrtune.Config:
    """A recipe that takes a second."""
    return lrtune.Config(**{**SMALL, **keys})


def random_states() -> list[Any]:
    """The states of the global generators."""
    return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]


def training(loader: Any) -> list[float]:
    """What a caller's own script trains on, with the caller's loader and the global generator."""
    model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    losses = []
    for inputs, target in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return [*losses, random.random(), float(np.random.rand())]


def own_loader() -> DataLoader[Any]:
    """A caller's loader, shuffling by a generator of its own."""
    return DataLoader(blobs(), 16, shuffle=True, generator=generator(11))


def raising_model() -> nn.Module:
    """Raises in the middle of a training."""

    class Raising(nn.Linear):
        calls = 0

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            type(self).calls += 1
            torch.rand(3)
            if type(self).calls > 5:
                raise RuntimeError("out of order")
            return super().forward(inputs)

    return Raising(4, 3)


# --- nothing leaks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loader", ["dataset", "own loader"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_training_afterwards_is_as_without(name: str, loader: str) -> None:
    """After any function of the API a caller's own training is bit for bit what it is without the call."""

    def script(call: bool) -> list[float]:
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        data = own_loader()
        if call:
            FUNCTIONS[name](blob_task(train=data if loader == "own loader" else blobs()), config())
        return training(data)

    assert script(call=True) == script(call=False)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_whatever_draws(name: str) -> None:
    """Model, loss, metric, optimizer and data may draw from any generator: the caller's stand where they stood."""

    def draw(*_: Any) -> torch.Tensor:
        return torch.rand(()) + random.random() + float(np.random.rand())

    def optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        draw()
        return torch.optim.SGD(model.parameters(), lr, weight_decay=weight_decay)

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(output, target) + 0 * draw()

    before = random_states()
    FUNCTIONS[name](blob_task(loss=loss, optimizer=optimizer, metrics={"drawn": draw}), config())
    assert random_states() == before


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_exception_leaves_nothing(name: str) -> None:
    """Also after an exception in the middle of a step, caught and kept, the caller's training is as without."""

    def script(call: bool) -> list[float]:
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        data = own_loader()
        if call:
            with pytest.raises(UserCodeError) as caught:
                FUNCTIONS[name](blob_task(train=data, model=raising_model), config())
            assert caught.value.__cause__ is not None
        return training(data)

    assert script(call=True) == script(call=False)


@pytest.mark.parametrize("enabled", [True, False], ids=["with gradients", "under no_grad"])
def test_settings_of_torch_are_the_callers(enabled: bool) -> None:
    """Grad mode, warning filters, threads and the default type are as before, whatever they were."""
    filters, threads = list(warnings.filters), torch.get_num_threads()
    with torch.set_grad_enabled(enabled):
        result = lrtune.run(blob_task(), config())
        assert torch.is_grad_enabled() is enabled
    assert result.verdict != "fail"
    assert warnings.filters == filters
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, torch.float32)


def test_the_callers_model_is_not_touched() -> None:
    """A trained model that the task copies stays as it is."""
    import copy

    trained = mlp()
    before = {key: value.clone() for key, value in trained.state_dict().items()}
    task = blob_task(model=lambda: copy.deepcopy(trained), pretrained=True)
    lrtune.run(task, config())
    assert all(torch.equal(value, before[key]) for key, value in trained.state_dict().items())
    assert all(parameter.grad is None for parameter in trained.parameters())


def test_the_callers_data_are_not_touched() -> None:
    """A model that changes its input in place changes no example of the caller's."""

    class InPlace(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs.mul_(2))

    batches = list(zip(*(tensor.split(16) for tensor in blobs().tensors), strict=True))
    before = [inputs.clone() for inputs, _ in batches]
    lrtune.run(blob_task(model=lambda: InPlace(4, 3), train=batches, val=batches), config())
    assert all(torch.equal(inputs, old) for (inputs, _), old in zip(batches, before, strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nothing_is_written_without_a_run_dir(name: str, empty_folder: Path) -> None:
    """Without `run_dir` no file appears in the working directory, and no result claims a place."""
    result = FUNCTIONS[name](blob_task(), config())
    assert list(empty_folder.iterdir()) == []
    assert result.run_dir is None


# --- results ----------------------------------------------------------------------------------------------------

TRIAL = {"lr", "weight_decay", "val_loss", "train_loss", "metrics", "steps", "state", "seed"}
SUMMARIES = {
    "check-init": {"initial_loss", "expected_low", "expected_high", "standard_error", "parameters"},
    "overfit": {"loss_first", "loss_last", "accuracy", "learning_rate", "steps"},
    "find-lr": {"suggestion", "low", "high", "diverged_at", "confidence", "repeats"},
    "coarse-grid": {"best", "trials"},
    "refine-grid": {"best", "trials"},
    "report": {"html", "best"},
    "run": set(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_dictionaries_hold_the_designs_keys(name: str) -> None:
    """Every step's JSON object has the design's keys, and plain finite values alone."""
    import json

    found = FUNCTIONS[name](blob_task(), config()).to_dict()
    keys = {"schema", "lrtune", "step", "verdict", "seconds", "run_dir", "findings", "summary"}
    assert set(found) == keys | ({"steps"} if name == "run" else set())
    assert (found["schema"], found["step"], found["lrtune"]) == (1, name, lrtune.__version__)
    assert set(found["summary"]) >= SUMMARIES[name]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    if name.endswith("grid"):
        assert all(set(trial) >= TRIAL for trial in [found["summary"]["best"], *found["summary"]["trials"]])


def test_a_run_walks_all_steps() -> None:
    """`run` does the six steps in their order, and its verdict is the worst of theirs."""
    told: list[str] = []
    result = Recipe(blob_task(), config()).run(on_step=lambda step: told.append(step.step))
    assert told == list(STEPS) == [step.step for step in result.steps]
    order = ["pass", "warn", "fail"]
    assert result.verdict == max((step.verdict for step in result.steps), key=order.index)
    assert result.summary["best"] == result.steps[-1].summary["best"]
    assert result.summary["best"]["val_loss"] < 0.5


@pytest.mark.parametrize("keep_going", [False, True])
def test_stopping_at_a_failure(keep_going: bool) -> None:
    """A run stops at the first step that fails, unless it is told to go on."""
    task = blob_task(model=lambda: Constant(0.0, 0.0, 0.0))
    result = lrtune.run(task, config(), keep_going=keep_going)
    assert result.verdict == "fail"
    names = [step.step for step in result.steps]
    assert names == (list(STEPS) if keep_going else ["check-init", "overfit"])
    assert "cannot-overfit" in codes(result)


def test_the_same_twice() -> None:
    """The same seed gives the same results twice, another seed others."""

    def summaries(seed: int) -> list[Any]:
        return [step.summary for step in lrtune.run(blob_task(), config(seed=seed)).steps]

    assert summaries(1) == summaries(1)
    assert summaries(1) != summaries(2)


def test_steps_are_those_of_the_run() -> None:
    """A step called by itself gives what the whole run gives."""
    whole = {step.step: step.summary for step in lrtune.run(blob_task(), config()).steps}
    for name in STEPS[:-1]:
        assert FUNCTIONS[name](blob_task(), config()).summary == whole[name]


# --- input steps and staleness ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "first"),
    [("coarse-grid", ["find-lr"]), ("refine-grid", ["find-lr", "coarse-grid"])],
)
def test_input_steps_run_first(name: str, first: list[str], tmp_path: Path) -> None:
    """A step whose input step is missing runs it first, says so, and stores it."""
    notes = Notes()
    Recipe(blob_task(), config(run_dir=str(tmp_path)), notes).step(name)
    written = {path.stem for path in tmp_path.glob("*.json")}
    assert written == {step.removesuffix("-grid") for step in [*first, name]} | {"metrics"}
    for step in first:
        assert any(step in note for note in notes.notes), notes.notes


def test_given_rates_need_no_sweep(tmp_path: Path) -> None:
    """With rates in the config the coarse grid does not wait for a sweep."""
    keys = {"coarse": {"lr": [0.1, 0.3], "weight_decay": [0.0], "epochs": 1}, "run_dir": str(tmp_path)}
    lrtune.coarse_grid(blob_task(), config(**keys))
    assert not (tmp_path / "find-lr.json").exists()


def test_a_failed_input_blocks(tmp_path: Path) -> None:
    """A step whose input step has failed does not begin, and says why by the input's findings."""
    task = blob_task(loss=lambda output, target: output.sum() * torch.nan)
    result = lrtune.refine_grid(task, config(run_dir=str(tmp_path)))
    assert codes(result) == ["diverges-everywhere"]
    assert result.summary == {"best": None, "trials": []}


CHANGES = {
    "seed": ({"seed": 3}, list(STEPS[:5])),
    "batch_size": ({"batch_size": 24}, list(STEPS[:5])),
    "optimizer": ({"optimizer": {"name": "adam"}}, list(STEPS[:5])),
    "overfit": ({"overfit": {"batches": 3, "steps": 100}}, ["overfit"]),
    "find_lr": ({"find_lr": {"steps": 50, "repeats": 2}}, ["find-lr", "coarse-grid", "refine-grid"]),
    "coarse": ({"coarse": {"weight_decay": [0.0], "epochs": 1}}, ["coarse-grid", "refine-grid"]),
    "refine": ({"refine": {"trials": 5, "epochs": 1, "seeds": 2}}, ["refine-grid"]),
    "nothing": ({}, []),
}


@pytest.mark.parametrize(("keys", "stale"), CHANGES.values(), ids=CHANGES)
def test_staleness(
    keys: dict[str, Any], stale: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed key makes those steps run again that read it, or that start from one that does, and no others."""
    monkeypatch.setattr("lrtune.recipe.write_page", lambda *_: "")  # the page takes longer than the steps
    task = blob_task()
    lrtune.run(task, config(run_dir=str(tmp_path)))
    notes = Notes()
    result = lrtune.run(task, config(run_dir=str(tmp_path), **keys), notes)
    again = [step.step for step in result.steps[:-1] if not step.reused]
    assert again == stale
    for name in stale:
        assert any(note.startswith(f"{name}: stale, because") for note in notes.notes)


def test_another_task_is_stale(tmp_path: Path) -> None:
    """Results of a task made in code are fresh for that very object alone."""
    lrtune.check_init(blob_task(), config(run_dir=str(tmp_path)))
    notes = Notes()
    result = Recipe(blob_task(), config(run_dir=str(tmp_path)), notes).run()
    assert not result.steps[0].reused
    assert any("the task's source" in note for note in notes.notes)


def test_a_step_asked_for_runs_again(tmp_path: Path) -> None:
    """A step that is asked for by itself is computed, not taken from the run directory."""
    task = blob_task()
    lrtune.check_init(task, config(run_dir=str(tmp_path)))
    assert not lrtune.check_init(task, config(run_dir=str(tmp_path))).reused


def test_reused_results_are_the_same(tmp_path: Path) -> None:
    """A second run with nothing changed takes all steps from the run directory, with the same numbers and curves."""
    task = blob_task()
    first = lrtune.run(task, config(run_dir=str(tmp_path)))
    second = lrtune.run(task, config(run_dir=str(tmp_path)))
    for one, other in zip(first.steps[:-1], second.steps[:-1], strict=True):
        assert other.reused
        assert one.to_dict()["summary"] == other.to_dict()["summary"]
        assert {name: measured(curve) for name, curve in one.curves.items()} == {
            name: measured(curve) for name, curve in other.curves.items()
        }
        assert [finding.code for finding in one.findings] == [finding.code for finding in other.findings]


def measured(curve: lrtune.Curve) -> tuple[Any, ...]:
    """A curve without what was not measured: an empty cell of the file reads as None."""
    rows = [{key: value for key, value in row.items() if value is not None} for row in curve.evaluations]
    return curve.loss, rows


@pytest.mark.parametrize("step", ["coarse-grid", "refine-grid"])
def test_interrupted_runs_go_on(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is interrupted within a grid goes on where it stopped, and ends as one that was not."""
    from lrtune.run_dir import RunDir

    task = blob_task()
    whole = lrtune.run(task, config())
    save, saved = RunDir.save, []

    def interrupting(self: Any, result: Any, *args: Any, **keys: Any) -> Any:
        stored = save(self, result, *args, **keys)
        if result.step == step:
            saved.append(result)
            if len(saved) == 2:
                raise KeyboardInterrupt
        return stored

    with monkeypatch.context() as patch:
        patch.setattr(RunDir, "save", interrupting)
        with pytest.raises(KeyboardInterrupt):
            lrtune.run(task, config(run_dir=str(tmp_path)))
    result = lrtune.run(task, config(run_dir=str(tmp_path)))
    at = STEPS.index(step)
    assert all(done.reused for done in result.steps[:at])
    for one, other in zip(whole.steps[: at + 1], result.steps, strict=False):
        if (
            one.step == "refine-grid"
        ):  # the sampler has seen the batch's told trials: other settings may follow
            assert len(other.summary["trials"]) == len(one.summary["trials"])
        else:
            assert one.to_dict()["summary"] == other.to_dict()["summary"]


def test_a_damaged_study_is_set_aside(tmp_path: Path) -> None:
    """A study file that is none is renamed, said, and the search starts anew."""
    task = blob_task()
    lrtune.coarse_grid(task, config(run_dir=str(tmp_path)))
    (tmp_path / "study.db").write_bytes(b"no database" * 100)
    notes = Notes()
    result = Recipe(task, config(run_dir=str(tmp_path)), notes).step("refine-grid")
    assert len(result.summary["trials"]) == 4
    assert (tmp_path / "study.db.damaged").exists()
    assert any("study.db" in note for note in notes.notes)


SHARED = mlp()  # what a task must not hand out


# --- requests that make no sense --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        pytest.param(
            lambda: lrtune.check_init(mlp()), TaskError, "expected an lrtune.Task, got Sequential", id="model"
        ),
        pytest.param(
            lambda: lrtune.run(blob_task(), config(device="cuda:7")),
            ConfigError,
            "device: 'cuda:7'",
            id="device",
        ),
        pytest.param(
            lambda: lrtune.run(blob_task(), config(optimizer={"name": "lbfgs"})),
            ConfigError,
            "closure",
            id="optimizer",
        ),
        pytest.param(
            lambda: lrtune.run(blob_task(model=lambda: SHARED), config()),
            TaskError,
            "same module",
            id="shared model",
        ),
        pytest.param(
            lambda: lrtune.check_init(blob_task(train=DataLoader(blobs(), 500, drop_last=True)), config()),
            TaskError,
            "Task.train: is empty",
            id="no batch",
        ),
        pytest.param(
            lambda: lrtune.check_init(linear_task(loss=lambda o, t: 1 / 0), config()),
            UserCodeError,
            "division by zero",
            id="loss",
        ),
    ],
)
def test_refused_requests(make: Any, error: type[Exception], message: str) -> None:
    """What cannot be measured is an error that names its cause, not a finding."""
    with pytest.raises(error, match=message):
        make()


def test_report_of_nothing(tmp_path: Path) -> None:
    """A directory without results cannot be reported."""
    with pytest.raises(RunDirError, match="holds no result"):
        report_run_dir(str(tmp_path))


def test_report_from_files_alone(tmp_path: Path) -> None:
    """A run directory is reported without its task, with the best settings that the run found."""
    result = lrtune.run(blob_task(), config(run_dir=str(tmp_path)))
    again = report_run_dir(str(tmp_path))
    assert again.to_dict()["summary"]["best"] == result.to_dict()["summary"]["best"]
    assert Path(again.summary["html"]).is_file()


def test_report_trains_nothing_after_a_failure(tmp_path: Path) -> None:
    """Where a run stops at step 1, an older grid of other settings is neither trained anew nor taken for the best."""
    lrtune.coarse_grid(blob_task(), config(run_dir=str(tmp_path)))

    def loud() -> nn.Module:
        model = mlp()
        model[2].weight.data.mul_(1000)
        return model

    notes = Notes()
    result = lrtune.run(blob_task(model=loud), config(run_dir=str(tmp_path)), notes)
    assert [step.step for step in result.steps] == ["check-init"]
    assert result.summary["best"] is None
    assert "coarse grid" not in notes.labels
    assert not (tmp_path / "best.yaml").exists()


def test_report_brings_a_stale_grid_up_to_date(tmp_path: Path) -> None:
    """Asked for by itself, the report runs a stale grid first and shows what that finds."""
    task = blob_task()
    lrtune.coarse_grid(task, config(run_dir=str(tmp_path)))
    changed = config(run_dir=str(tmp_path), batch_size=24)
    best = lrtune.report(task, changed).summary["best"]
    assert best == lrtune.coarse_grid(task, config(batch_size=24)).summary["best"] | {"curve": best["curve"]}


def test_a_grid_keeps_the_cells_that_are_trained(tmp_path: Path) -> None:
    """Asked for again, a complete grid trains nothing and says how many cells it has."""
    task, notes = blob_task(), Notes()
    first = lrtune.coarse_grid(task, config(run_dir=str(tmp_path)))
    again = lrtune.coarse_grid(task, config(run_dir=str(tmp_path)), notes)
    assert again.summary == first.summary
    assert f"coarse-grid: {len(first.summary['trials'])} cells are trained already" in notes.notes


def test_an_edited_optimizer_file_is_stale(tmp_path: Path) -> None:
    """An optimizer named by its file is part of what a result was made from."""
    file = tmp_path / "recipe_optimizer.py"
    text = "import torch\ndef make(model, lr, weight_decay):\n    return torch.optim.SGD(model.parameters(), lr={})\n"
    settings = config(run_dir=str(tmp_path / "run"), optimizer={"name": f"{file}:make"})
    task = blob_task()
    file.write_text(text.format("lr"))
    lrtune.find_lr(task, settings)
    file.write_text(text.format("lr / 10"))
    notes = Notes()
    lrtune.coarse_grid(task, settings, notes)
    assert any("find-lr: stale, because the optimizer's source changed" in note for note in notes.notes)


def test_one_process_works_in_a_run_directory(tmp_path: Path) -> None:
    """A second recipe in the same directory is refused while the first is at work, and not after it."""
    lrtune.check_init(blob_task(), config(run_dir=str(tmp_path)))
    holder = Recipe(blob_task(), config(run_dir=str(tmp_path)))
    with holder._working(), pytest.raises(RunDirError, match="another lrtune is working"):
        lrtune.check_init(blob_task(), config(run_dir=str(tmp_path)))
    assert lrtune.check_init(blob_task(), config(run_dir=str(tmp_path))).verdict == "pass"


def test_a_pretrained_sweep_starts_lower() -> None:
    """Two decades below `find_lr.min`, as dense as before, unless the minimum is given."""
    fresh = lrtune.find_lr(blob_task(), config()).details["learning_rates"]
    lower = lrtune.find_lr(blob_task(pretrained=True), config()).details["learning_rates"]
    given = lrtune.find_lr(blob_task(pretrained=True), config(find_lr={"min": 1e-7, "repeats": 2})).details
    assert lower[0] == pytest.approx(fresh[0] / 100)
    assert lower[1] / lower[0] == pytest.approx(fresh[1] / fresh[0], rel=0.02)
    assert given["learning_rates"][0] == pytest.approx(1e-7)


def test_a_result_shows_itself_in_a_line() -> None:
    """What a notebook prints for a result is short."""
    shown = repr(lrtune.check_init(blob_task(), config()))
    assert shown.startswith("<check-init: pass")
    assert len(shown) < 250


def test_the_plain_loop_of_the_tests_is_plain() -> None:
    """The loop that bitwise tests compare with trains as torch does: a step of SGD is w - lr * gradient."""
    from programs import program_of

    from lrtune.population.protocol import Member

    inputs, target = torch.tensor([[1.0, 0, 0, 0]]), torch.tensor([[2.0]])
    torch.manual_seed(0)
    weight = nn.Linear(4, 1, bias=False).weight.detach()
    losses, state = trained_alone(program_of(linear_task()), Member(0.25), [(inputs, target)])
    error = weight[0, 0] - 2
    assert losses == [pytest.approx(float(error**2))]
    assert float(state["weight"][0, 0]) == pytest.approx(float(weight[0, 0] - 0.25 * 2 * error))
