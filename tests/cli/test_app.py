from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
import yaml

import lrtune
from lrtune.checks.catalogue import catalogue
from lrtune.results import STEPS

if TYPE_CHECKING:
    from .conftest import Project

NAMES = ("run", "check", "check-init", "overfit", "find-lr", "grid", "worker", "report", "init", "explain")


def test_version(project: Project) -> None:
    """`--version` prints name and version."""
    outcome = project.lrtune("--version")
    assert (outcome.code, outcome.out) == (0, f"lrtune {lrtune.__version__}\n")


def test_python_m_lrtune(project: Project) -> None:
    """`python -m lrtune` is the same program, its exit codes included."""
    outcome = project.process("--version")
    assert (outcome.code, outcome.out, outcome.err) == (0, f"lrtune {lrtune.__version__}\n", "")
    assert project.process("run", "no.yaml").code == 2


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_lists_every_command(project: Project, option: str) -> None:
    """Help names the commands in the recipe's order."""
    outcome = project.lrtune(option)
    assert (outcome.code, outcome.err) == (0, "")
    listed = [line.split()[0] for line in outcome.out.split("Commands:")[1].splitlines() if line.strip()]
    assert tuple(listed) == NAMES


@pytest.mark.parametrize("name", NAMES[:8])
def test_every_step_has_the_common_options(project: Project, name: str) -> None:
    """Each command that runs a step takes the same options."""
    outcome = project.lrtune(name, "--help")
    assert outcome.code == 0
    options = (
        "--device",
        "--seed",
        "--run-dir",
        "--set",
        "--json",
        "--format",
        "--output",
        "--quiet",
        "--verbose",
        "--plot",
        "--strict",
    )
    for option in options:
        assert option in outcome.out


def test_no_command_shows_the_help(project: Project) -> None:
    """`lrtune` alone is bad usage that shows how."""
    outcome = project.lrtune()
    assert outcome.code == 2
    assert "Commands:" in outcome.out + outcome.err


def test_explain_lists_every_code(project: Project) -> None:
    """`explain` without a code prints all of them with their titles, step by step."""
    outcome = project.lrtune("explain")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    for code, entry in catalogue().items():
        assert any(line.split()[:1] == [code] and entry.title.split()[0] in line for line in lines), code
    assert [line for line in lines if line in (*STEPS, "check")] == list(
        dict.fromkeys(entry.step for entry in catalogue().values())
    )


@pytest.mark.parametrize("code", catalogue())
def test_explain_a_code(project: Project, code: str) -> None:
    """`explain CODE` tells its title, why it matters, its threshold with the source, causes and the fix."""
    outcome = project.lrtune("explain", code)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(code)
    source = ("Source",) if catalogue()[code].source != "-" else ()
    for part in ("Why it matters", "When it is reported", *source, "Likely causes", "Fix"):
        assert f"\n{part}\n" in outcome.out


def test_explain_as_json(project: Project) -> None:
    """`--json` prints one object: an entry of the catalogue, or all of them."""
    one = json.loads(project.lrtune("explain", "no-descent", "--json").out)
    assert one == {"schema": 1, **json.loads(json.dumps(asdict(catalogue()["no-descent"])))}
    every = json.loads(project.lrtune("explain", "--json").out)
    assert [entry["code"] for entry in every["codes"]] == list(catalogue())


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        pytest.param("no-decent", "; did you mean 'no-descent'?", id="typo"),
        pytest.param("xyzzy", "", id="nothing like it"),
    ],
)
def test_explain_a_wrong_code(project: Project, code: str, hint: str) -> None:
    """A code that is not there is bad usage, with the closest one."""
    outcome = project.lrtune("explain", code)
    assert (outcome.code, outcome.out) == (2, "")
    assert (
        outcome.err
        == f"lrtune: error: explain: no finding '{code}'{hint} (`lrtune explain` lists them all)\n"
    )


def test_init_writes_a_starter_that_runs(project: Project) -> None:
    """`init`, then `run` of what it wrote, goes through all six steps."""
    outcome = project.lrtune("init", "new")
    assert outcome.code == 0
    assert outcome.out == "wrote new/lrtune_task.py and new/lrtune.yaml\nnext: lrtune run new/lrtune.yaml\n"
    budget = ("--set", "coarse.epochs=1", "--set", "refine={trials: 2, epochs: 1, seeds: 2}")
    outcome = project.lrtune("run", "new/lrtune.yaml", "--json", *budget)
    assert outcome.code == 0, outcome.err
    assert [step["step"] for step in outcome.json["steps"]] == list(STEPS)
    assert (project.folder / "lrtune-runs" / "starter" / "report.html").is_file()


def test_the_starter_says_the_defaults(project: Project) -> None:
    """The starter's config has every key there is, each with its default but those that are the starter's own."""
    project.lrtune("init")
    written = yaml.safe_load((project.folder / "lrtune.yaml").read_text())
    own = ("task", "args", "run_dir")
    said = {key: value for key, value in written.items() if key not in own}
    defaults = lrtune.Config().model_dump()
    assert set(said) == set(defaults) - set(own)
    sections = {key: set(value) for key, value in defaults.items() if isinstance(value, dict)}
    assert {key: set(said[key]) for key in sections if key in said} == {
        key: keys for key, keys in sections.items() if key not in own
    }
    assert lrtune.Config(**said) == lrtune.Config()


def test_init_overwrites_nothing_unasked(project: Project) -> None:
    """A second `init` is refused and changes nothing; --force overwrites."""
    project.lrtune("init")
    project.write("lrtune.yaml", "mine")
    outcome = project.lrtune("init")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("lrtune: error: init: lrtune_task.py and lrtune.yaml exist already")
    assert (project.folder / "lrtune.yaml").read_text() == "mine"
    assert project.lrtune("init", "--force").code == 0
    assert (project.folder / "lrtune.yaml").read_text() != "mine"


def test_init_where_nothing_can_be_written(project: Project) -> None:
    """A folder below a file is refused with one message."""
    outcome = project.lrtune("init", "toy.py/new")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("lrtune: error: init: cannot write to toy.py/new: ")
