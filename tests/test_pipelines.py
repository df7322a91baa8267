"""What is handed out for pipelines: each file parses, and runs the command line that it names."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import yaml

import lrtune

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(lrtune.__file__).parents[1]
ACTION = ROOT / ".github" / "actions" / "lrtune" / "action.yml"

TASK = """\
import lrtune
from programs import blob_task

def make_task():
    return blob_task()

def make_broken():
    return blob_task(loss=lambda output, target: output.sum() * float("nan"))
"""
CONFIG = """\
task: tiny.py:make_task
device: cpu
batch_size: 16
run_dir: out
overfit: {batches: 2, steps: 100}
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's checkout: a task, its config, and a committed baseline."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "tiny.py").write_text(TASK)
    (folder / "tiny.yaml").write_text(CONFIG)
    done = run("lrtune check tiny.yaml --baseline tiny.json --update-baseline", folder, {})
    assert done.returncode == 0, done.stderr
    return folder


def run(script: str, folder: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script as GitHub and GitLab do: by bash, which stops at the first command that fails."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        shell, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def read(path: Path) -> Any:
    """Parse a YAML file."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def step_of_action(inputs: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the script of the action's last step and its environment, as GitHub fills its inputs in."""
    action = read(ACTION)
    values = {name: one.get("default") for name, one in action["inputs"].items()} | dict(inputs)
    assert set(values) == set(action["inputs"]), "an input that the action has not"
    step = action["runs"]["steps"][-1]
    names = {name: text.strip("${} ").removeprefix("inputs.") for name, text in step["env"].items()}
    return step["run"], {name: values[key] for name, key in names.items()}


def test_the_action_checks_and_annotates(checkout: Path) -> None:
    """With a baseline and further options it runs one command line, and writes the job's summary."""
    script, variables = step_of_action(
        {"config": "tiny.yaml", "baseline": "tiny.json", "budget": "600", "options": "--strict --seed 0"}
    )
    assert "${{" not in script  # an input within the script would be code
    summary = checkout / "summary.md"
    done = run(script, checkout, {**variables, "GITHUB_STEP_SUMMARY": str(summary)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        f"lrtune {step}" for step in ("check-init", "overfit", "find-lr")
    ]
    assert "### Against the baseline" in summary.read_text(encoding="utf-8")


def test_the_action_without_a_baseline_fails_where_the_check_does(checkout: Path) -> None:
    """An input left out is no option, words of `options` are several, and the job's step fails with the check."""
    script, variables = step_of_action(
        {"config": "tiny.py:make_broken", "options": "--set batch_size=8 --set overfit.steps=25"}
    )
    done = run(script, checkout, variables)
    assert done.returncode == 1, done.stderr
    assert "::error file=tiny.py,line=7,title=lrtune check-init%3A nonfinite-loss::" in done.stdout


def test_the_action_installs_this_package() -> None:
    """Its install step leads from the action's folder to the root of the repository."""
    install = read(ACTION)["runs"]["steps"][0]
    assert install["if"] == "inputs.install == 'true'"
    place = install["env"]["PACKAGE"].replace("${{ github.action_path }}", str(ACTION.parent))
    assert (Path(place) / "pyproject.toml").samefile(ROOT / "pyproject.toml")
    assert install["run"] == 'python -m pip install "$PACKAGE"'


def test_every_step_of_the_action_names_its_shell() -> None:
    """GitHub asks it of composite actions."""
    action = read(ACTION)
    assert action["runs"]["using"] == "composite"
    assert all(step["shell"] == "bash" for step in action["runs"]["steps"] if "run" in step)


def test_the_workflow_uses_the_action_on_what_is_there() -> None:
    """Its inputs are the action's, and the files that they name are committed."""
    workflow = read(ROOT / ".github" / "workflows" / "lrtune.yml")
    assert "pull_request" in workflow[True]  # YAML 1.1 reads `on` as true
    (step,) = (one for one in workflow["jobs"]["check"]["steps"] if one.get("uses", "").startswith("./"))
    assert (ROOT / step["uses"] / "action.yml").samefile(ACTION)
    step_of_action(step["with"])
    assert (ROOT / step["with"]["config"]).is_file()
    assert (ROOT / step["with"]["baseline"]).is_file()


def test_the_hook(checkout: Path) -> None:
    """pre-commit runs `entry` with the user's `args` and no file names."""
    (hook,) = read(ROOT / ".pre-commit-hooks.yaml")
    assert set(hook) >= {"id", "name", "entry", "language"}
    assert hook["pass_filenames"] is False
    assert hook["language"] == "system"
    done = run(shlex.join([*shlex.split(hook["entry"]), "tiny.yaml", "--quiet"]), checkout, {})
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


def test_the_hook_of_the_readme(checkout: Path) -> None:
    """The README's `.pre-commit-config.yaml` parses, and what its hook runs checks the config that it names."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8").partition("**pre-commit.**")[2]
    config = yaml.safe_load(readme.partition("```yaml\n")[2].partition("```")[0])
    ((hook,),) = ([*repository["hooks"]] for repository in config["repos"])
    (published,) = read(ROOT / ".pre-commit-hooks.yaml")
    assert hook["id"] == published["id"]
    command = [*shlex.split(hook.get("entry", published["entry"])), *hook.get("args", [])]
    assert command[:2] == ["lrtune", "check"]
    command = ["tiny.yaml" if word.endswith(".yaml") else word for word in command]
    done = run(shlex.join(command), checkout, {})
    assert done.returncode == 0, done.stderr


def test_the_gitlab_job(checkout: Path) -> None:
    """Its script writes the JUnit file that its artifacts name, and stdout stays for the log."""
    (job,) = read(ROOT / ".gitlab" / "lrtune.yml").values()
    assert set(job["variables"]) == {"CONFIG", "BASELINE"}
    done = run("\n".join(job["script"]), checkout, {"CONFIG": "tiny.yaml", "BASELINE": "tiny.json"})
    assert done.returncode == 0, done.stderr
    assert job["artifacts"]["when"] == "always"  # a failed job is the one to look at
    (suite,) = ET.parse(checkout / job["artifacts"]["reports"]["junit"]).getroot()
    assert suite.get("name") == "lrtune check"
    assert suite.get("failures") == "0"


def test_the_readme_shows_the_gitlab_job() -> None:
    """The snippet in the README is the file that is tested here."""
    text = (ROOT / ".gitlab" / "lrtune.yml").read_text(encoding="utf-8")
    assert f"```yaml\n{text}```" in (ROOT / "README.md").read_text(encoding="utf-8")
