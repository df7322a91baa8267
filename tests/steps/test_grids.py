from __future__ import annotations

import copy
import math
import threading
from typing import TYPE_CHECKING, Any

import optuna
import pytest
import torch
from programs import Choosy, Notes, blob_task, blobs, codes, context_of, linear_task, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.checks.grid import has_exploded
from lrtune.results import StepResult, jsonable
from lrtune.run_dir import RunDir
from lrtune.steps.coarse_grid import coarse_grid
from lrtune.steps.loss_curves import loss_curves
from lrtune.steps.refine_grid import Study, refine_grid
from lrtune.steps.shared_trials import Role
from lrtune.steps.trials import best_of, labelled, ranked, score
from lrtune.study.place import StudyPlace

if TYPE_CHECKING:
    from pathlib import Path

    from lrtune.steps.context import Context

KEYS = {"lr", "weight_decay", "val_loss", "train_loss", "metrics", "steps", "state", "seed"}
SMALL: dict[str, Any] = {
    "batch_size": 16,
    "coarse": {"lr": [0.03, 0.1, 0.3, 1.0], "weight_decay": [0.0, 1e-4], "epochs": 1},
    "refine": {"trials": 6, "epochs": 2, "seeds": 2},
}


def context(task: lrtune.Task | None = None, **keys: Any) -> Context:
    """The classes' task made ready, with a small grid."""
    return context_of(task or blob_task(), **{**SMALL, **keys})


def cells(result: StepResult) -> set[tuple[float, float]]:
    """Rate and decay of every trial."""
    return {(trial["lr"], trial["weight_decay"]) for trial in result.summary["trials"]}


def read_back(result: StepResult) -> StepResult:
    """The result as a file would give it back."""
    again = copy.deepcopy(result)
    again.summary = jsonable(again.summary)
    return again


# --- the coarse grid --------------------------------------------------------------------------------------------


def test_every_cell_is_trained() -> None:
    """Each rate meets each decay; trials are ranked by validation loss, and each has its curve."""
    result = coarse_grid(context(), None)
    trials = result.summary["trials"]
    assert {(lr, wd) for lr in (0.03, 0.1, 0.3, 1.0) for wd in (0.0, 1e-4)} <= cells(result)
    assert [trial["val_loss"] for trial in trials] == sorted(trial["val_loss"] for trial in trials)
    assert result.summary["best"] == trials[0]
    assert len({trial["curve"] for trial in trials}) == len(trials)
    for trial in trials:
        assert set(trial) >= KEYS
        assert trial["metrics"].keys() == {"accuracy"}
        curve = result.curves[trial["curve"]]
        assert len(curve.loss) == trial["steps"] == 6
        assert curve.evaluations[-1]["val_loss"] == trial["val_loss"]


def test_a_cell_is_the_training_of_its_settings() -> None:
    """A cell's losses are bitwise those of a plain loop with its rate and decay over the same batches."""
    made = context()
    result = coarse_grid(made, None)
    trial = result.summary["best"]
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), trial["lr"], 0.9, weight_decay=trial["weight_decay"])
    losses = []
    for inputs, target in made.data.train.epoch(0, 0):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == result.curves[trial["curve"]].loss


def test_automatic_rates() -> None:
    """Rates around a suggestion, from it outwards: half a decade below and above, and a whole one below."""
    parts: list[StepResult] = []
    made = context(coarse={"epochs": 1, "weight_decay": [0.0]}, population={"execution": "serial"})
    object.__setattr__(made, "keep", parts.append)
    coarse_grid(made, 0.1)
    first = sorted(parts[3].summary["trials"], key=lambda trial: trial["curve"])
    assert [trial["lr"] for trial in first] == pytest.approx(
        [0.1, 0.1 / 10**0.5, 0.1 * 10**0.5, 0.01], rel=1e-5
    )


def test_an_optimizer_without_decay() -> None:
    """Where the optimizer knows no weight decay the grid is over rates alone."""
    result = coarse_grid(context(optimizer={"name": "rprop"}), None)
    assert {wd for _, wd in cells(result)} == {0.0}


@pytest.mark.parametrize("rates", [[1e-4, 2e-4, 4e-4], [0.3, 0.5]], ids=["too low", "near"])
def test_the_grid_is_extended_at_its_edge(rates: list[float]) -> None:
    """A best cell at the edge adds rates beyond it, at most twice; what stays at the edge is told."""
    result = coarse_grid(context(coarse={"lr": rates, "weight_decay": [0.0], "epochs": 2}), None)
    found = sorted(lr for lr, _ in cells(result))
    assert len(found) <= len(rates) + 4
    if rates[0] == 1e-4:
        assert found == pytest.approx([*rates, 4e-4 * math.sqrt(10), 4e-3])
        assert codes(result) == ["best-at-grid-edge"]
        assert len(result.details["extended"]) == 2


def overflowing(output: Tensor, target: Tensor) -> Tensor:
    """Squared error that a large rate sends to infinity within a step."""
    return F.mse_loss(output * 1e15, 1e15 * F.one_hot(target, 3).float())


def test_everything_diverging() -> None:
    """Where no cell stays finite the step fails, after looking below a bounded number of times."""
    result = coarse_grid(context(blob_task(loss=overflowing), coarse={"lr": [1e3, 1e4], "epochs": 1}), None)
    assert "all-diverged" in codes(result)
    assert result.verdict == "fail"
    assert result.summary["best"] is None
    assert {trial["state"] for trial in result.summary["trials"]} == {"diverged"}
    assert min(lr for lr, _ in cells(result)) == pytest.approx(10)


def test_without_validation_the_training_loss_ranks() -> None:
    """Without a validation set trials are ranked by their loss on the training subset."""
    result = coarse_grid(context(blob_task(val=None)), None)
    losses = [trial["train_loss"] for trial in result.summary["trials"]]
    assert losses == sorted(losses)
    assert all(trial["val_loss"] is None for trial in result.summary["trials"])


def loader_task(**fields: Any) -> lrtune.Task:
    """A task whose data are read anew, so that members train side by side."""
    data = torch.utils.data.DataLoader(blobs(), 16, shuffle=True)
    return blob_task(train=data, **fields)


def test_failing_cells_are_told() -> None:
    """Cells whose model raises have failed; the others are there, and the first failure is quoted."""
    settings = {"lr": [0.1, 0.3, 1e6], "weight_decay": [0.0], "epochs": 1}
    result = coarse_grid(context(loader_task(model=Choosy), coarse=settings), None)
    assert "trial-failed" in codes(result)
    assert "weights out of bounds" in next(f.message for f in result.findings if f.code == "trial-failed")
    states = {trial["lr"]: trial["state"] for trial in result.summary["trials"]}
    assert states[1e6] == "failed"
    assert states[0.1] == "complete"


def test_where_a_cell_failed_is_kept(tmp_path: Path) -> None:
    """The traceback of a failed cell is a file of the run directory that the finding names; those of before go."""
    task = loader_task(model=Choosy)
    old = tmp_path / "failed" / "coarse-009.txt"
    old.parent.mkdir()
    old.write_text("of another grid")
    coarse = {"lr": [0.1, 0.3, 1e6], "weight_decay": [0.0], "epochs": 1}
    result = lrtune.coarse_grid(task, lrtune.Config(device="cpu", run_dir=str(tmp_path), coarse=coarse))
    (failed,) = [trial for trial in result.summary["trials"] if trial["state"] == "failed"]
    told = (tmp_path / failed["traceback"]).read_text()
    assert told.splitlines()[0].startswith("Traceback")
    assert "weights out of bounds" in told.splitlines()[-1]
    assert failed["traceback"] in next(f.message for f in result.findings if f.code == "trial-failed")
    assert not old.exists()


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_going_on_after_an_interruption(kept: int) -> None:
    """An unfinished grid trains only the cells that it lacks, and ends as one that was not interrupted."""
    whole = coarse_grid(context(), None)
    parts: list[StepResult] = []
    made = context()
    object.__setattr__(made, "keep", lambda result: parts.append(read_back(result)))
    assert coarse_grid(made, None).summary == whole.summary
    assert len(parts) == len(whole.summary["trials"])
    trained: list[StepResult] = []
    again = context()
    object.__setattr__(again, "keep", trained.append)
    result = coarse_grid(again, None, parts[kept - 1] if kept else None)
    assert len(trained) == len(whole.summary["trials"]) - kept
    assert result.summary == whole.summary
    assert result.curves == whole.curves


def test_failed_cells_are_tried_again() -> None:
    """After an interruption a failed cell is trained anew, and no curve takes another's place."""
    settings = {"lr": [1e6, 0.1, 0.3], "weight_decay": [0.0], "epochs": 1}
    parts: list[StepResult] = []
    made = context(loader_task(model=Choosy), coarse=settings)
    object.__setattr__(made, "keep", lambda result: parts.append(read_back(result)))
    coarse_grid(made, None)
    failed_first = next(part for part in parts if len(part.summary["trials"]) == 3)
    result = coarse_grid(context(loader_task(model=Choosy), coarse=settings), None, failed_first)
    names = [trial["curve"] for trial in result.summary["trials"]]
    assert len(set(names)) == len(names)
    for trial in result.summary["trials"]:
        assert len(result.curves[trial["curve"]].loss) == trial["steps"]


def test_scores() -> None:
    """Complete trials are scored by validation loss, else by training loss; others come last and are never best."""
    row = {"lr": 0.1, "weight_decay": 0.0, "val_loss": 1.0, "train_loss": 0.5, "state": "complete"}
    lost = {**row, "state": "diverged", "val_loss": 0.1}
    alone = {**row, "val_loss": None}
    assert (score(row), score(alone), score(lost)) == (1.0, 0.5, math.inf)
    assert ranked([lost, row, alone]) == [alone, row, lost]
    behind = [{**row, "state": "pruned", "val_loss": loss, "lr": 1 / loss} for loss in (2.0, 3.0, 4.0)]
    assert ranked([*reversed(behind), row]) == [row, *behind]
    assert best_of([lost]) is None
    assert best_of([lost, row]) == row
    assert labelled(row) == "lr 0.1, weight decay 0"


def test_a_validation_loss_that_ends_is_no_score() -> None:
    """A trial whose validation loss is not finite at its end is not complete, whatever it was before."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        loss = F.cross_entropy(model(batch[0]), batch[1])
        far = model[2].weight.detach().abs().max() > 2
        return loss * torch.inf if far and not model.training and len(batch[0]) == 15 else loss

    task = blob_task(loss=None, step=step, metrics={}, val=blobs(15, seed=1))
    result = coarse_grid(context(task, coarse={"lr": [0.03, 3.0], "weight_decay": [0.0], "epochs": 3}), None)
    states = {trial["lr"]: trial["state"] for trial in result.summary["trials"]}
    assert states[3.0] == "diverged"
    assert states[0.03] == "complete"


# --- the refined grid -------------------------------------------------------------------------------------------


def refined(place: StudyPlace, done: StepResult | None = None, **keys: Any) -> StepResult:
    """A refined search around the small coarse grid."""
    made = context(**keys)
    return refine_grid(made, coarse_grid(made, None), Study(place), done)


MEMORY = StudyPlace(None, "refine")


def test_search() -> None:
    """As many trials as asked for, the best coarse cells first, ranked, each trained for the refined epochs."""
    result = refined(MEMORY)
    coarse = coarse_grid(context(), None)
    trials = result.summary["trials"]
    assert len(trials) == 6
    first = sorted(trials, key=lambda trial: trial["curve"])[:3]
    expected = [(cell["lr"], cell["weight_decay"]) for cell in coarse.summary["trials"][:3]]
    assert [(trial["lr"], trial["weight_decay"]) for trial in first] == expected
    assert all(trial["steps"] == 12 for trial in trials)
    assert [score(trial) for trial in trials] == sorted(score(trial) for trial in trials)
    assert set(trials[0]) >= KEYS
    assert len(result.details["repeats"].get("coarse", [])) in (0, 2)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc", "random"])
def test_samplers_repeat(sampler: str) -> None:
    """Each sampler gives the same trials for the same seed."""
    refine = {"trials": 10, "epochs": 1, "seeds": 1, "sampler": sampler}
    one, other = refined(MEMORY, refine=refine), refined(MEMORY, refine=refine)
    assert one.summary == other.summary
    assert len(cells(one)) >= 9


def test_study_opens_with_optuna(tmp_path: Path) -> None:
    """The study's file is an ordinary Optuna study whose values are the trials' losses."""
    place = StudyPlace(str(tmp_path / "study.db"), "refine")
    result = refined(place)
    study = optuna.load_study(study_name="refine", storage=f"sqlite:///{place.path}")
    assert study.best_value == pytest.approx(min(score(trial) for trial in result.summary["trials"]))
    assert len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE])) == 6
    assert set(study.best_params) == {"lr", "weight_decay"}


@pytest.mark.parametrize("told", [1, 3, 5])
def test_search_goes_on_after_an_interruption(tmp_path: Path, told: int) -> None:
    """An interrupted search trains only what is missing, repeats nothing, and keeps the told trials' curves."""
    place = StudyPlace(str(tmp_path / "study.db"), "refine")
    made = context()
    coarse = coarse_grid(made, None)
    parts: list[StepResult] = []

    def interrupt(result: StepResult) -> None:
        parts.append(read_back(result))
        if len(parts) == told + 1:
            raise KeyboardInterrupt

    object.__setattr__(made, "keep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        refine_grid(made, coarse, Study(place))
    again, trained = context(), []
    object.__setattr__(again, "keep", trained.append)
    result = refine_grid(again, coarse, Study(place), parts[told - 1])
    assert len(trained) == 6 - told
    trials = result.summary["trials"]
    assert len(trials) == 6
    before = {trial["curve"]: trial for trial in parts[told - 1].summary["trials"]}
    assert {trial["curve"]: trial for trial in trials if trial["curve"] in before} == before
    assert all(trial["curve"] in result.curves for trial in trials)
    assert len(cells(result)) == 6


def test_more_trials_continue_the_study(tmp_path: Path) -> None:
    """A finished search with more trials asked for trains just the rest."""
    place = StudyPlace(str(tmp_path / "study.db"), "refine")
    first = refined(place)
    made, trained = context(refine={"trials": 8, "epochs": 2, "seeds": 1}), []
    object.__setattr__(made, "keep", trained.append)
    result = refine_grid(made, coarse_grid(context(), None), Study(place), read_back(first))
    assert len(trained) == 2
    assert len(result.summary["trials"]) == 8


def test_the_coarse_cell_as_the_best() -> None:
    """Where nothing beats the coarse grid's best cell it stays the best, and the step says so."""
    result = refined(MEMORY, refine={"trials": 1, "epochs": 1, "seeds": 3})
    assert codes(result) == ["refine-no-gain"]
    assert result.verdict == "warn"
    assert result.details["repeats"] == {}
    best = coarse_grid(context(), None).summary["best"]
    assert (result.summary["best"]["lr"], result.summary["best"]["weight_decay"]) == (
        best["lr"],
        best["weight_decay"],
    )


def test_repeats_decide() -> None:
    """The best setting is repeated over seeds against the coarse cell: it must be better in the mean to be chosen."""
    results = [refined(MEMORY, seed=seed, refine={"trials": 8, "epochs": 1, "seeds": 3}) for seed in range(4)]
    repeated = [result for result in results if result.details["repeats"]]
    assert repeated, "in four searches of eight trials each, some trial beats the coarse cell"
    for result in repeated:
        repeats = result.details["repeats"]
        assert len(repeats["coarse"]) == len(repeats["refined"]) == 3
        gain = sum(repeats["coarse"]) / 3 - sum(repeats["refined"]) / 3
        assert result.details["gain"] == pytest.approx(gain)
        best = result.summary["trials"][0]
        assert (result.summary["best"]["curve"] == best["curve"]) is (gain > 0)
        assert best["val_loss"] not in repeats["refined"], (
            "the seed that chose the setting is no witness for it"
        )


@pytest.mark.parametrize(
    ("initial", "last", "lowest", "exploded"),
    [
        pytest.param(2.3, 2.35, 2.2, False, id="learns-nothing"),
        pytest.param(2.3, 7.0, 2.2, True, id="three-times-the-initial-loss"),
        pytest.param(2.3, 6.0, 0.1, False, id="above-but-not-twice-over"),
        pytest.param(0.01, 0.5, -1.0, False, id="near-zero-and-had-fallen-far"),
        pytest.param(-1.0, 5.0, -1.5, True, id="below-zero"),
        pytest.param(2.3, None, 2.3, False, id="not-finite-is-judged-elsewhere"),
    ],
)
def test_a_loss_that_ends_far_above_its_start_has_exploded(
    initial: float, last: float | None, lowest: float, exploded: bool
) -> None:
    """A trial that ends finite, but far above where it began, counts as diverged."""
    assert has_exploded(initial, last, lowest) is exploded


def test_no_threads_are_left() -> None:
    """The search leaves no thread behind, and Optuna's verbosity as it was."""
    before, verbosity = threading.active_count(), optuna.logging.get_verbosity()
    refined(MEMORY, refine={"trials": 3, "epochs": 1, "seeds": 1})
    assert threading.active_count() == before
    assert optuna.logging.get_verbosity() == verbosity


# --- the report's choice ----------------------------------------------------------------------------------------


def test_the_later_grid_has_the_last_word() -> None:
    """The settings to take away are the refined search's, else the coarse grid's, else none."""
    coarse, fine = ({"lr": lr, "curve": f"c-{lr}"} for lr in (0.1, 0.2))
    results = {
        "coarse-grid": StepResult("coarse-grid", summary={"best": coarse}),
        "refine-grid": StepResult("refine-grid", summary={"best": fine}),
    }
    assert loss_curves(results).summary == {"html": None, "best": fine}
    results["refine-grid"].summary["best"] = None
    assert loss_curves(results).summary["best"] == coarse
    assert loss_curves({}).summary["best"] is None


# --- the refined search's budget, pruning and rounds ------------------------------------------------------------


def test_diverged_trials_keep_their_last_finite_loss() -> None:
    """A divergence is a result: the trial says how far it came, and is never the best."""
    coarse = {"lr": [0.1, 1e4], "weight_decay": [0.0], "epochs": 2}
    task = blob_task(loss=lambda output, target: F.mse_loss(output, F.one_hot(target, 3).float()))
    result = coarse_grid(context(task, coarse=coarse), None)
    lost = next(trial for trial in result.summary["trials"] if trial["lr"] == 1e4)
    measured = [row["val_loss"] for row in result.curves[lost["curve"]].evaluations]
    assert lost["state"] == "diverged"
    assert (lost["val_loss"], lost["train_loss"]) == (None, None)
    assert lost["last_loss"] == [loss for loss in measured if loss is not None][-1]
    assert result.summary["best"]["lr"] != 1e4


@pytest.mark.parametrize("execution", ["serial", "fused"])
def test_pruned_trials(execution: str) -> None:
    """Trials that the pruner ends are `pruned`, keep their last loss and their curve, and rank after complete ones."""
    refine = {"trials": 10, "epochs": 9, "seeds": 1, "pruner": "halving"}
    keys: dict[str, Any] = {"refine": refine, "population": {"execution": execution}}
    result = refined(MEMORY, **keys)
    trials = result.summary["trials"]
    states = [trial["state"] for trial in trials]
    assert states == sorted(states)  # complete, then pruned
    ended = [trial for trial in trials if trial["state"] == "pruned"]
    assert {trial["steps"] for trial in ended} <= {6, 18}  # after epochs 1 and 3
    for trial in ended:
        assert result.curves[trial["curve"]].evaluations[-1]["val_loss"] == trial["val_loss"]
    first = next(trial for trial in trials if trial["curve"] == "refine-000")
    assert first["state"] == "complete", "others are compared with it"
    if execution == "serial":  # another's rounding differs from run to run
        assert refined(MEMORY, **keys).summary == result.summary


class Clock:
    """A clock that goes on by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        self.now += 1
        return self.now


def test_timeout() -> None:
    """When the time is up no batch begins, the repeats are left out, both is said; more time goes on from there."""
    notes = Notes()
    made = context(refine={"trials": 20, "epochs": 1, "seeds": 2, "timeout": 9.0})
    object.__setattr__(made, "progress", notes)
    coarse = coarse_grid(context(), None)
    result = refine_grid(made, coarse, Study(MEMORY, role=Role(clock=Clock())))
    trained = len(result.summary["trials"])
    assert trained % 5 == 0
    assert 0 < trained < 20
    assert result.details["repeats"] == {}
    assert f"timeout of 9 s is up: {20 - trained} of 20 trials were not begun" in result.details["left_out"]
    assert any("goes on" in note for note in notes.notes)
    whole = context(refine={"trials": 20, "epochs": 1, "seeds": 2})
    straight = refine_grid(whole, coarse, Study(MEMORY))
    again = refine_grid(whole, coarse, Study(MEMORY), read_back(result))
    assert again.details["left_out"] is None
    assert cells(again) == cells(straight)


def test_more_trials_in_moved_ranges(tmp_path: Path) -> None:
    """A further round adds trials to the study, in ranges widened where the best lay at an edge, and says so."""
    place = StudyPlace(str(tmp_path / "study.db"), "refine")
    refine = {"trials": 8, "epochs": 1, "seeds": 1, "sampler": "random"}
    slow: dict[str, Any] = {"coarse": {"lr": [0.001, 0.002], "weight_decay": [0.0], "epochs": 1}}
    made, notes = context(refine=refine, **slow), Notes()
    coarse = coarse_grid(made, None)
    first = read_back(refine_grid(made, coarse, Study(place)))
    high = first.details["space"]["lr_high"]
    first.summary["best"]["lr"] = high  # as if it were the best
    object.__setattr__(made, "progress", notes)
    more = refine_grid(made, coarse, Study(place, more=12), first)
    assert len(more.summary["trials"]) == 20
    assert more.details["space"]["lr_high"] == pytest.approx(high * 10**0.5)
    assert max(trial["lr"] for trial in more.summary["trials"]) > high
    assert more.details["rounds"][0]["trials"] == 20
    assert any("lies at the upper end" in note for note in notes.notes)
    # The same command without --more knows the round, and finds nothing left.
    again = refine_grid(made, coarse, Study(place), read_back(more))
    assert again.summary == more.summary
    assert again.details["space"] == more.details["space"]
    # So it does where the study was lost, from the plain files.
    lost = refine_grid(made, coarse, Study(StudyPlace(str(tmp_path / "new.db"), "refine")), read_back(more))
    assert lost.summary == more.summary


def test_an_interrupted_round_goes_on(tmp_path: Path) -> None:
    """What was added and not trained is trained by the next command, and no more than that."""
    place = StudyPlace(str(tmp_path / "study.db"), "refine")
    refine = {"trials": 4, "epochs": 1, "seeds": 1}
    made = context(refine=refine)
    coarse = coarse_grid(made, None)
    first, parts = read_back(refine_grid(made, coarse, Study(place))), []

    def interrupt(result: StepResult) -> None:
        parts.append(read_back(result))
        if len(parts) == 2:
            raise KeyboardInterrupt

    stopped = context(refine=refine)
    object.__setattr__(stopped, "keep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        refine_grid(stopped, coarse, Study(place, more=6), first)
    result = refine_grid(made, coarse, Study(place), parts[-1])
    assert len(result.summary["trials"]) == 10


def test_curves_are_in_files_before_the_table_is(tmp_path: Path) -> None:
    """The table of all trials is written now and then; what it lacks is found again in the study and the curves."""
    place, files = StudyPlace(str(tmp_path / "study.db"), "refine"), RunDir(tmp_path)
    made, kept = context(refine={"trials": 9, "epochs": 1, "seeds": 1}), []
    coarse = coarse_grid(made, None)
    for name, value in {"files": files, "keep": kept.append}.items():
        object.__setattr__(made, name, value)
    still = Role(clock=[0.0, *[float(at) for at in (1, 2)], *[2.0] * 40].__iter__().__next__)
    result = refine_grid(made, coarse, Study(place, role=still))
    assert len(kept) == 1, "it took a second, and no time has passed since"
    object.__setattr__(made, "keep", kept.append)
    again = refine_grid(made, coarse, Study(place), read_back(kept[0]))
    assert len(kept) == 1, "nothing is trained again"
    assert again.summary == result.summary
    assert again.curves == result.curves


def test_regression_without_metrics() -> None:
    """A grid over a regression has no metrics and ranks all the same."""
    result = coarse_grid(
        context(linear_task(), coarse={"lr": [0.001, 0.01], "weight_decay": [0.0], "epochs": 2}), None
    )
    assert result.summary["best"]["metrics"] == {}
    assert result.verdict != "fail"
