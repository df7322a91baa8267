from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from lrtune.results import STEPS

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Outcome, Project

FILES = ("check-init.json", "overfit.json", "find-lr.json", "coarse.json", "refine.json")
NAN = "from toy import *\ndef make(): return task(loss=lambda output, target: output.sum() * float('nan'))\n"


def reused(outcome: Outcome) -> set[str]:
    """Return the steps that a run says it has taken from the run directory."""
    return set(re.findall(r"^(\S+): nothing has changed, taken from out$", outcome.err, re.MULTILINE))


def summaries(outcome: Outcome) -> dict[str, object]:
    """Return each step's summary by its name."""
    return {step["step"]: step["summary"] for step in outcome.json["steps"]}


def modified(project: Project) -> dict[str, int]:
    """Return when each step's file was written."""
    return {name: (project.out / name).stat().st_mtime_ns for name in FILES}


def test_a_second_run_takes_everything_from_the_run_directory(finished: Project, first_run: Outcome) -> None:
    """Nothing is computed again, that is said, the files stay untouched and the object is the same."""
    before = modified(finished)
    outcome = finished.lrtune("run", "toy.yaml", "--json")
    assert outcome.code == 0
    assert reused(outcome) == set(STEPS[:-1])
    assert modified(finished) == before
    assert summaries(outcome) == summaries(first_run)


def test_text_says_where_a_result_comes_from(finished: Project) -> None:
    """A person sees which results are old."""
    outcome = finished.lrtune("run", "toy.yaml", "--quiet")
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines] == list(STEPS)
    assert all("(from the run directory)" in line for line in lines[:5])


@pytest.mark.parametrize(
    ("change", "stale", "why"),
    [
        pytest.param(
            "overfit.steps=50", {"overfit"}, "overfit: stale, because overfit changed", id="overfit"
        ),
        pytest.param(
            "coarse.weight_decay=[0]",
            {"coarse-grid", "refine-grid"},
            "coarse-grid: stale, because coarse changed",
            id="coarse",
        ),
        pytest.param(
            "refine.trials=4", {"refine-grid"}, "refine-grid: stale, because refine changed", id="refine"
        ),
    ],
)
def test_an_edited_config_runs_the_stale_steps_alone(
    finished: Project, change: str, stale: set[str], why: str
) -> None:
    """What reads the changed key runs again, and what starts from its result; the rest is used again."""
    key, value = change.split("=")
    section, inner = key.split(".")
    text = (finished.folder / "toy.yaml").read_text()
    edited = re.sub(
        rf"^({section}: .*\b{inner}: )(\[.*?\]|[^,}}]+)", rf"\g<1>{value}", text, flags=re.MULTILINE
    )
    assert edited != text
    finished.write("toy.yaml", edited)
    outcome = finished.lrtune("run", "toy.yaml", "--json")
    assert reused(outcome) == set(STEPS[:-1]) - stale
    assert why in outcome.err


def test_an_edited_task_runs_everything_again(finished: Project) -> None:
    """A change of the task's source leaves no result fresh, and the reason is said."""
    finished.write(
        "toy.py",
        (finished.folder / "toy.py").read_text().replace("nn.Linear(8, 3)", "nn.Linear(8, 3, False)"),
    )
    outcome = finished.lrtune("run", "toy.yaml", "--json")
    assert reused(outcome) == set()
    assert "check-init: stale, because the task's source changed; running it again" in outcome.err


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scramble(path: Path) -> None:
    """Fill a file with bytes of no meaning."""
    path.write_bytes(b"\xff\x00\xfe" * 1000)


@pytest.mark.parametrize(
    ("damage", "names", "again"),
    [
        pytest.param(
            truncate,
            ("check-init.json", "coarse.json"),
            {"check-init", "coarse-grid"},
            id="cut check-init and coarse",
        ),
        pytest.param(
            scramble,
            ("overfit.json", "find-lr.json", "refine.json"),
            {"overfit", "find-lr", "refine-grid"},
            id="scrambled overfit, find-lr and refine",
        ),
        pytest.param(
            truncate,
            ("curves/overfit-003.csv", "curves/refine-000.csv"),
            {"overfit", "refine-grid"},
            id="cut curves",
        ),
    ],
)
def test_damaged_results_are_named_set_aside_and_made_again(
    finished: Project, first_run: Outcome, damage: object, names: tuple[str, ...], again: set[str]
) -> None:
    """Their steps alone run again, with the same numbers as before; the next run finds all in order."""
    files = {path.name for path in finished.out.rglob("*.*")}
    for name in names:
        damage(finished.out / name)  # type: ignore[operator]
    outcome = finished.lrtune("run", "toy.yaml", "--json")
    assert outcome.code == 0
    assert reused(outcome) == set(STEPS[:-1]) - again
    for name in names:
        file = name.rpartition("/")[2]
        assert re.search(
            rf"^out/{re.escape(name)}: damaged \(.*set aside as {file}\.damaged", outcome.err, re.MULTILINE
        )
        assert (finished.out / f"{name}.damaged").is_file()
    left = {path.name for path in finished.out.rglob("*.*")}
    assert left == files | {f"{name.rpartition('/')[2]}.damaged" for name in names}
    assert summaries(outcome) == summaries(first_run)
    assert reused(finished.lrtune("run", "toy.yaml", "--json")) == set(STEPS[:-1])


@pytest.mark.parametrize("damage", [truncate, scramble])
def test_a_damaged_study_is_set_aside(finished: Project, first_run: Outcome, damage: object) -> None:
    """The search is made again in a new study, with the trials of the first time."""
    damage(finished.out / "study.db")  # type: ignore[operator]
    outcome = finished.lrtune("grid", "--refine", "toy.yaml", "--json")
    assert outcome.code == 0
    assert re.search(
        r"^out/study\.db: damaged \(.*set aside as study\.db\.damaged", outcome.err, re.MULTILINE
    )
    assert (finished.out / "study.db.damaged").is_file()
    assert outcome.json["summary"] == summaries(first_run)["refine-grid"]


def test_more_trials_go_on_with_the_study(finished: Project, first_run: Outcome) -> None:
    """Raising refine.trials keeps the trials there are and adds the missing ones."""
    outcome = finished.lrtune("grid", "--refine", "toy.yaml", "--json", "--set", "refine.trials=5")
    before = summaries(first_run)["refine-grid"]["trials"]  # type: ignore[index]
    trials = outcome.json["summary"]["trials"]
    assert len(trials) == 5
    assert all(trial in trials for trial in before)
    assert "refine-grid: 3 trials are in the study already" in outcome.err


def test_a_run_stops_at_the_first_failure(project: Project) -> None:
    """A failed check ends the run with 1, and the report still says how far it came."""
    project.write("nan.py", NAN)
    outcome = project.lrtune("run", "nan.py:make", "--json", "--run-dir", "out")
    assert outcome.code == 1
    assert [(step["step"], step["verdict"]) for step in outcome.json["steps"]] == [("check-init", "fail")]
    assert outcome.json["verdict"] == "fail"
    assert (project.out / "report.html").is_file()
    assert not (project.out / "overfit.json").exists()


def test_keep_going_walks_all_six_steps(project: Project) -> None:
    """With --keep-going later steps run in spite of failures; the exit code is still 1."""
    project.write("nan.py", NAN)
    outcome = project.lrtune("run", "nan.py:make", "--json", "--run-dir", "out", "--keep-going")
    assert outcome.code == 1
    assert [step["step"] for step in outcome.json["steps"]] == list(STEPS)
    verdicts = {step["step"]: step["verdict"] for step in outcome.json["steps"]}
    assert verdicts["overfit"] == verdicts["find-lr"] == verdicts["coarse-grid"] == "fail"


def test_a_step_runs_the_step_that_it_starts_from(project: Project) -> None:
    """`grid --coarse` in an empty run directory makes step 3's result as well, and keeps it."""
    assert project.lrtune("grid", "--coarse", "toy.yaml", "--json").code == 0
    assert project.record("coarse.json")["complete"]
    assert project.record("find-lr.json")["complete"]
    assert not (project.out / "overfit.json").exists()


def test_given_rates_need_no_step_3(project: Project) -> None:
    """With `coarse.lr` as a list nothing is swept first."""
    assert project.lrtune("grid", "--coarse", "toy.yaml", "--set", "coarse.lr=[0.1, 0.3]").code == 0
    assert not (project.out / "find-lr.json").exists()


def test_the_files_that_a_run_leaves(finished: Project) -> None:
    """The run directory holds what the documentation names, and nothing temporary."""
    names = {path.name for path in finished.out.iterdir()}
    assert names == {
        *FILES,
        "report.json",
        "report.html",
        "best.yaml",
        "study.db",
        "curves",
        "trials.csv",
        "metrics.json",
    }


def test_a_report_from_the_run_directory_alone(finished: Project, first_run: Outcome) -> None:
    """`report RUN_DIR` needs neither config nor task, and finds the same best setting."""
    (finished.folder / "toy.py").unlink()
    (finished.out / "report.html").unlink()
    outcome = finished.lrtune("report", "out", "--json")
    assert outcome.code == 0
    assert outcome.json["summary"] == summaries(first_run)["report"]
    assert (finished.out / "report.html").is_file()


def test_a_folder_without_results_is_no_run_directory(project: Project) -> None:
    """`report` of another folder is refused, and nothing is written into it."""
    (project.folder / "empty").mkdir()
    outcome = project.lrtune("report", "empty")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("lrtune: error: empty: holds no result of lrtune")
    assert list((project.folder / "empty").iterdir()) == []
