from __future__ import annotations

import subprocess
import sys

import torch

from lrtune.environment import environment
from lrtune.version import __version__


def test_versions_are_those_in_use() -> None:
    """Python's, lrtune's and torch's versions are told, with the machine and the command."""
    found = environment("lrtune run x.yaml")
    assert found["command"] == "lrtune run x.yaml"
    assert found["versions"]["torch"] == torch.__version__
    assert found["versions"]["lrtune"] == __version__
    assert found["versions"]["Python"] == sys.version.split()[0]
    assert found["machine"]


def test_a_command_is_kept_without_its_password() -> None:
    """What is written into results and pages holds no password."""
    command = environment("lrtune report out --set storage=postgresql://u:topsecret@h/d")["command"]
    assert command == "lrtune report out --set storage=postgresql://u:***@h/d"


def test_no_command_is_none() -> None:
    """From Python there is no command line."""
    assert environment()["command"] is None


def test_nothing_is_imported() -> None:
    """Telling torch's version does not import torch."""
    code = "import sys; from lrtune.environment import environment; environment(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
