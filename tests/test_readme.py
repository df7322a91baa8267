"""The README says what the program does: its table and its commands are checked against the code."""

from __future__ import annotations

from pathlib import Path

import yaml

from lrtune.checks.catalogue import markdown_table
from lrtune.config import Config

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_table_of_findings_is_the_catalogue() -> None:
    """Every code stands in the README as the catalogue has it; `markdown_table()` prints the table."""
    assert markdown_table() in README


def test_the_configuration_shown_is_the_default() -> None:
    """The YAML under "Configuration" holds every key with its default value."""
    section = README.partition("## Configuration")[2]
    shown = yaml.safe_load(section.partition("```yaml\n")[2].partition("```")[0])
    assert shown.pop("task")
    assert Config(**shown) == Config()
    assert set(shown) == set(Config.model_fields) - {"task"}


def test_the_set_up_commands_are_there() -> None:
    """Two commands do all the set-up on a fresh machine, the tests' one alone on its line."""
    lines = README.splitlines()
    assert 'python -m pip install -e ".[dev]" && python -m pytest' in lines
    assert 'python -m pip install -e ".[dev]" && lrtune run configs/digits-mlp.yaml' in lines
