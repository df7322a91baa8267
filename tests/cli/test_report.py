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
    """`--format html` alone leaves the page in the run directory, and prints the text."""
    (finished.out / "report.html").unlink()
    outcome = finished.lrtune("report", "out", "--format", "html")
    assert "best settings" in outcome.out
    assert (finished.out / "report.html").is_file()


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


def copied(project: Project, **changed: object) -> None:
    """Make `other`: the finished run with another suggestion and settings."""
    shutil.copytree(project.out, project.folder / "other")
    path = project.folder / "other" / "find-lr.json"
    record = json.loads(path.read_text())
    record["summary"] |= changed
    record["made_from"]["seed"] = 7
    path.write_text(json.dumps(record))


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
    assert {"step": "find-lr", "name": "suggestion"}.items() <= found["summary"][0].items()
    assert found["summary"][0]["b"] == 0.5


@pytest.mark.parametrize(("form", "start"), [("html", "<!doctype html>"), ("md", "# out against other")])
def test_compare_in_a_file(finished: Project, form: str, start: str) -> None:
    """The comparison as a page or as Markdown is the file of --output."""
    copied(finished)
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
