from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Project


def test_markdown_on_stdout(finished: Project) -> None:
    """`--format md` prints the Markdown and nothing else; what is said for people stays on stderr."""
    outcome = finished.lrtune("report", "out", "--format", "md")
    assert outcome.code == 0, outcome
    assert outcome.out.startswith("# toy.py:make\\_task\n")
    assert "| all |" in outcome.out


def test_page_elsewhere(finished: Project) -> None:
    """`--format html --output FILE` writes the page there; the text goes to stderr then."""
    outcome = finished.lrtune("report", "out", "--format", "html", "--output", "page.html")
    assert (outcome.code, outcome.out) == (0, "")
    assert "wrote the report to page.html (html)" in outcome.err
    page = (finished.folder / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "gradient steps" in page


def test_page_in_its_usual_place(finished: Project) -> None:
    """`--format html` alone leaves the page in the run directory, and says where in a line."""
    (finished.out / "report.html").unlink()
    outcome = finished.lrtune("report", "out", "--format", "html")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "the page is out/report.html\n")
    assert (finished.out / "report.html").is_file()


@pytest.mark.parametrize("form", ["md", "html"])
def test_a_form_in_a_file_is_said_in_a_line(finished: Project, form: str) -> None:
    """Who asks for a file gets that line alone: no findings, no chart of the terminal."""
    outcome = finished.lrtune("report", "out", "--format", form, "--output", "there")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err == f"wrote the report to there ({form})\n"


def test_steps_of_another_source_are_left_out(finished: Project) -> None:
    """A step that was made with another seed than the best setting's grid is named, and counts in no verdict."""
    path = finished.out / "overfit.json"
    record = json.loads(path.read_text())
    record["made_from"]["seed"] = 7
    path.write_text(json.dumps(record))
    outcome = finished.lrtune("report", "out", "--format", "md")
    said = "overfit: left out, because it has another seed than refine-grid; run it again\n"
    assert outcome.err.count(said) == 1
    rows = [line for line in outcome.out.splitlines() if "Overfit a few batches" in line]
    assert "not run (stale)" in rows[1]


def test_a_damaged_result_is_said(finished: Project) -> None:
    """One line says which file, its new name, and which command makes it again."""
    (finished.out / "coarse.json").write_text("{")
    outcome = finished.lrtune("report", "out")
    assert outcome.code == 0
    lines = [line for line in outcome.err.splitlines() if "coarse.json" in line]
    assert len(lines) == 1
    assert lines[0].startswith("out/coarse.json: damaged (")
    assert lines[0].endswith(
        "set aside as coarse.json.damaged, to make it again: lrtune grid --coarse CONFIG"
    )


def test_what_is_neither(project: Project) -> None:
    """The message for a name that is not there says all that could stand in its place."""
    outcome = project.lrtune("report", "nowhere")
    assert (outcome.code, outcome.out) == (2, "")
    assert "nowhere: no such file or folder" in outcome.err
    assert "a YAML file, a task such as model.py:make_task, or the run directory" in outcome.err


@pytest.mark.parametrize("given", [False, True], ids=["charts", "output"])
def test_pictures(finished: Project, given: bool) -> None:
    """`--format svg` writes a folder with every chart: `charts` in the run directory, or that of --output."""
    more = ["--output", "new/pictures"] if given else []
    outcome = finished.lrtune("report", "out", "--format", "svg", *more)
    assert outcome.code == 0, outcome
    folder = finished.folder / "new/pictures" if given else finished.out / "charts"
    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == "1-check-init-initial-loss.svg"
    assert len(names) == 11


def test_tensorboard(finished: Project) -> None:
    """`--tensorboard DIR` writes a run for each trial, beside whatever else the command does."""
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    outcome = finished.lrtune("report", "out", "--tensorboard", "events", "--json")
    assert outcome.json["step"] == "report"
    trials = [finished.record(name)["summary"]["trials"] for name in ("coarse.json", "refine.json")]
    written = {path.name for path in (finished.folder / "events").iterdir()}
    assert written == {trial["curve"] for grid in trials for trial in grid}


def test_only_the_sweep(finished: Project) -> None:
    """Where only find-lr has run, the terminal and the page say the same settings."""
    alone = finished.folder / "alone"
    alone.mkdir()
    shutil.copy(finished.out / "find-lr.json", alone)
    outcome = finished.lrtune("report", "alone")
    said = " ".join(outcome.out.split())
    start = said.index("learning rate")
    words = said[start : said.index(")", start) + 1]
    assert words.endswith("(suggested by the sweep, not yet trained with)")
    assert words.removeprefix("learning") in (alone / "report.html").read_text()


def copied(project: Project, suggestion: float) -> None:
    """Make `other`: the first three steps of the finished run with another suggestion and seed."""
    folder = project.folder / "other"
    shutil.copytree(project.out, folder)
    for name in ("coarse.json", "refine.json", "report.json"):
        (folder / name).unlink()
    for name in ("check-init.json", "overfit.json", "find-lr.json"):
        record = json.loads((folder / name).read_text())
        record["made_from"]["seed"] = 7
        if name == "find-lr.json":
            record["summary"]["suggestion"] = suggestion
        (folder / name).write_text(json.dumps(record))


def test_compare_as_text_and_json(finished: Project) -> None:
    """Two run directories are set side by side, as text of 80 columns and as one JSON object."""
    copied(finished, suggestion=0.5)
    text = finished.lrtune("report", "out", "other")
    assert text.code == 0
    assert text.out.startswith("out against other\n")
    assert max(len(line) for line in text.out.splitlines()) <= 80
    assert "\x1b" not in text.out
    found = finished.lrtune("report", "out", "other", "--json").json
    assert (found["schema"], found["step"], found["a"], found["b"]) == (1, "compare", "out", "other")
    assert (found["verdict"], found["run_dir"], found["findings"]) == ("pass", None, [])
    assert found["seconds"] > 0
    assert {"step": "find-lr", "name": "suggestion"}.items() <= found["numbers"][0].items()
    assert found["numbers"][0]["b"] == 0.5


def test_a_comparison_names_whose_steps_it_leaves_out(finished: Project) -> None:
    """A step that does not belong to its run's best settings is in no table, and which run it is of is said."""
    shutil.copytree(finished.out, finished.folder / "other")
    path = finished.folder / "other" / "overfit.json"
    record = json.loads(path.read_text())
    record["made_from"]["seed"] = 7
    path.write_text(json.dumps(record))
    outcome = finished.lrtune("report", "out", "other", "--json")
    said = "other: overfit: left out, because it has another seed than refine-grid; run it again\n"
    assert outcome.err == said
    assert {"step": "overfit", "a": "pass", "b": None} in outcome.json["verdicts"]
    assert outcome.json["settings"] == []


@pytest.mark.parametrize(("form", "start"), [("html", "<!doctype html>"), ("md", "# out against other")])
def test_compare_in_a_file(finished: Project, form: str, start: str) -> None:
    """The comparison as a page or as Markdown is the file of --output."""
    copied(finished, suggestion=0.5)
    outcome = finished.lrtune("report", "out", "other", "--format", form, "--output", "compared")
    assert (outcome.code, outcome.out) == (0, "")
    assert (finished.folder / "compared").read_text().startswith(start)


REFUSED = {
    "config": (["out", "toy.yaml"], "toy.yaml: is a file"),
    "nowhere": (["out", "nowhere"], "nowhere: there is no such folder"),
    "empty": (["empty", "out"], "empty: holds no result of lrtune"),
    "format": (
        ["out", "out", "--format", "junit"],
        "a comparison is one of text, json, html, md, got 'junit'",
    ),
    "no-output": (["out", "out", "--format", "html"], "name it, such as --output compare.html"),
    "tensorboard": (["out", "out", "--tensorboard", "events"], "--tensorboard: takes one run directory"),
    "unknown": (["out", "--format", "pdf"], "expected one of text, json, junit, github, html, md, png, svg"),
    "typo": (["out", "--format", "htm"], "did you mean 'html'?"),
    "folder": (["out", "--format", "png", "--output", "toy.yaml"], "cannot write to the folder toy.yaml"),
    "no-folder": (["out", "--format", "md", "--output", "no/where.md"], "there is no folder no"),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.values(), ids=REFUSED)
def test_refused(finished: Project, arguments: list[str], said: str) -> None:
    """What cannot be done is told in one message with code 2, before anything is written."""
    (finished.folder / "empty").mkdir()
    page = (finished.out / "report.html").stat().st_mtime_ns
    outcome = finished.lrtune("report", *arguments)
    assert (outcome.code, outcome.out) == (2, ""), outcome
    assert said in outcome.err
    assert "Traceback" not in outcome.err
    assert (finished.out / "report.html").stat().st_mtime_ns == page
