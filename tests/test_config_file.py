from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lrtune import ConfigError, load_config
from lrtune.config_file import config_from_overrides

if TYPE_CHECKING:
    from collections.abc import Callable

TASK = "task: model.py:make_task\n"


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a config in the working directory; its path is relative, as users give it."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        Path("digits.yaml").write_text(text, encoding="utf-8")
        return Path("digits.yaml")

    return write


def fault_of(path: Path, *overrides: str) -> str:
    """Return what is wrong with a file under these overrides."""
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return str(caught.value)


def test_the_designs_example(written: Callable[[str], Path]) -> None:
    """The file that the documentation shows reads as it says."""
    config = load_config(
        written("""\
task: ../examples/digits_mlp.py:make_task
args: {hidden: 128}              # keyword arguments of make_task
seed: 0
device: auto                     # auto | cpu | cuda | cuda:N | mps
batch_size: 64
optimizer: {name: sgd, momentum: 0.9}   # any torch.optim class by name; further keys are its keywords
run_dir: lrtune-runs/digits-mlp
overfit: {batches: 5, steps: 300}
find_lr: {min: 1.0e-7, max: 10.0, steps: 100, repeats: 3, weight_decay: 1.0e-4}
coarse: {lr: auto, weight_decay: [0, 1.0e-5, 1.0e-4], epochs: 3}
refine: {trials: 20, epochs: 15, sampler: tpe}
""")
    )
    assert config.args == {"hidden": 128}
    assert config.run_dir == "lrtune-runs/digits-mlp"
    assert config.find_lr.min == 1e-7
    assert config.coarse.weight_decay == [0.0, 1e-5, 1e-4]
    assert config.refine.trials == 20


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-4", 1e-4), ("1E-4", 1e-4), ("1e+2", 100.0), ("1.5e-3", 1.5e-3), ("2e1", 20.0), ("3", 3.0)],
)
def test_a_rate_may_be_written_as_people_write_it(
    written: Callable[[str], Path], text: str, number: float
) -> None:
    """`1e-4` is a number, though YAML 1.1 reads text."""
    config = load_config(written(f"{TASK}coarse: {{lr: [{text}]}}\n"))
    assert config.coarse.lr == [number]


def test_text_that_looks_like_a_rate_stays_text_in_quotes(written: Callable[[str], Path]) -> None:
    """Quotes keep '1e-4' text: the exponent rule is for plain words only."""
    config = load_config(written(f"{TASK}args: {{name: '1e-4', hash: 1e-4x}}\n"))
    assert config.args == {"name": "1e-4", "hash": "1e-4x"}


def test_a_fault_names_file_and_key(written: Callable[[str], Path]) -> None:
    """The place reads `digits.yaml: coarse.lr[2]`."""
    path = written(f"{TASK}coarse: {{lr: [0.1, 0.2, -1]}}\n")
    assert fault_of(path) == "digits.yaml: coarse.lr[2]: must be above 0, found -1"


def test_all_faults_of_a_file_are_told_at_once(written: Callable[[str], Path]) -> None:
    """A missing task, an unknown key, a wrong type and a wrong value come together, each on its line."""
    path = written("tsk: model.py:make_task\ncoarse: {epoch: 3, lr: [0.1, x]}\nrefine: {sampler: tpo}\n")
    lines = fault_of(path).splitlines()
    assert lines[0] == "5 faults:"
    assert sorted(lines[1:]) == sorted(
        [
            "  digits.yaml: task: missing; name the function that makes the task, such as 'model.py:make_task'",
            "  digits.yaml: tsk: unknown key; did you mean 'task'? (known: task, args, seed, device, precision, "
            "batch_size, optimizer, run_dir, overfit, find_lr, coarse, refine, population, storage, study, workers)",
            "  digits.yaml: coarse.epoch: unknown key; did you mean 'epochs'? (known: lr, weight_decay, epochs, axes, "
            "halving)",
            "  digits.yaml: coarse.lr[1]: must be a number, found 'x'",
            "  digits.yaml: refine.sampler: must be 'tpe', 'gp', 'qmc' or 'random', found 'tpo'",
        ]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("seed: 1\n", "digits.yaml: task: missing", id="no task"),
        pytest.param("task:\n", "digits.yaml: task: missing", id="task left empty"),
        pytest.param(
            "", "digits.yaml: expected keys such as 'task: model.py:make_task', found nothing", id="empty"
        ),
        pytest.param("# all commented out\n", "digits.yaml: expected keys", id="comments alone"),
        pytest.param("- task\n- seed\n", "digits.yaml: expected keys such as 'task", id="a list"),
        pytest.param("model.py:make_task\n", "digits.yaml: expected keys such as 'task", id="a bare name"),
        pytest.param(
            f"{TASK}seed: 1\nseed: 2\n",
            "digits.yaml, line 3, column 1: not valid YAML: the key 'seed'",
            id="twice",
        ),
        pytest.param(
            f"{TASK}coarse:\n  epochs: 1\n  epochs: 2\n",
            "digits.yaml, line 4, column 3: not valid YAML: the key 'epochs' stands twice",
            id="twice in a section",
        ),
        pytest.param(f"{TASK}coarse: {{lr: [0.1\nseed: 1\n", "digits.yaml, line 3", id="bracket left open"),
        pytest.param(f"{TASK}seed: 1\n\tdevice: cpu\n", "digits.yaml, line 3, column 1", id="tab"),
        pytest.param(f"{TASK}? [a, b]\n: 1\n", "digits.yaml, line 2, column 3", id="a list for a key"),
        pytest.param(f"{TASK}args: *nowhere\n", "digits.yaml, line 2", id="unknown alias"),
        pytest.param(
            f"{TASK}args: !!python/object/apply:os.getcwd []\n",
            "digits.yaml, line 2, column 7",
            id="python tag",
        ),
    ],
)
def test_a_file_that_is_no_config(written: Callable[[str], Path], text: str, said: str) -> None:
    """What is wrong with the file itself is told with its line."""
    assert fault_of(written(text)).startswith(said)


def test_no_such_file(tmp_path: Path) -> None:
    """A path that leads nowhere says so, and how to start."""
    assert fault_of(tmp_path / "no.yaml").endswith(
        "no.yaml: no such file; `lrtune init` writes a starter task and config"
    )


@pytest.mark.parametrize(
    "make", [Path.mkdir, lambda path: path.write_bytes(b"\xff\xfe\x00")], ids=["dir", "bytes"]
)
def test_an_unreadable_file(tmp_path: Path, make: Callable[[Path], Any]) -> None:
    """A folder or binary content cannot be read, and is no crash."""
    make(tmp_path / "x.yaml")
    assert "x.yaml: cannot be read: " in fault_of(tmp_path / "x.yaml")


@pytest.mark.parametrize(
    ("override", "read"),
    [
        pytest.param("seed=3", lambda config: config.seed == 3, id="a number"),
        pytest.param("seed = 3", lambda config: config.seed == 3, id="spaces around ="),
        pytest.param("coarse.epochs=7", lambda config: config.coarse.epochs == 7, id="nested"),
        pytest.param("coarse.lr=[0.1, 3e-1]", lambda config: config.coarse.lr == [0.1, 0.3], id="a list"),
        pytest.param("coarse.lr=auto", lambda config: config.coarse.lr == "auto", id="a word for a list"),
        pytest.param("find_lr.min=1e-4", lambda config: config.find_lr.min == 1e-4, id="1e-4"),
        pytest.param("overfit={batches: 2}", lambda config: config.overfit.batches == 2, id="a section"),
        pytest.param("args.depth=2", lambda config: config.args == {"width": 1, "depth": 2}, id="one more"),
        pytest.param(
            "args.a.b=2", lambda config: config.args["a"] == {"b": 2}, id="two levels of a free key"
        ),
        pytest.param("args.text=a=b", lambda config: config.args["text"] == "a=b", id="= in the value"),
        pytest.param(
            "optimizer.nesterov=true", lambda config: config.optimizer.keywords["nesterov"], id="bool"
        ),
        pytest.param("run_dir=", lambda config: config.run_dir is None, id="nothing"),
        pytest.param("task=b.py:f", lambda config: config.task == "b.py:f", id="the task"),
    ],
)
def test_an_override_lies_over_the_file(
    written: Callable[[str], Path], override: str, read: Callable[[Any], bool]
) -> None:
    """`--set KEY=VALUE` replaces one key, nested by dots, its value read as YAML; others stay."""
    path = written(f"{TASK}args: {{width: 1}}\nseed: 1\nbatch_size: 5\nrun_dir: out\ncoarse: {{epochs: 1}}\n")
    config = load_config(path, [override])
    assert read(config)
    assert config.batch_size == 5


def test_the_last_override_of_a_key_wins(written: Callable[[str], Path]) -> None:
    """Overrides are laid over the file in their order."""
    assert load_config(written(TASK), ["seed=1", "coarse.epochs=2", "seed=3"]).seed == 3


def test_an_override_may_bring_the_task(written: Callable[[str], Path]) -> None:
    """A file without a task is complete with `--set task=...`."""
    assert load_config(written("seed: 1\n"), ["task=b.py:f"]).task == "b.py:f"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        pytest.param("seed", "--set seed: expected KEY=VALUE, such as coarse.epochs=2", id="no ="),
        pytest.param("=3", "--set =3: expected KEY=VALUE", id="no key"),
        pytest.param("coarse.lr=[0.1", "--set coarse.lr, line 1, column", id="bracket left open"),
        pytest.param("coarse.lr=[0.1, -2]", "--set coarse.lr[1]: must be above 0, found -2", id="bad item"),
        pytest.param("coarse.epoch=3", "--set coarse.epoch: unknown key; did you mean 'epochs'?", id="typo"),
        pytest.param(
            "coars.epochs=3", "--set coars: unknown key; did you mean 'coarse'?", id="typo in section"
        ),
        pytest.param("seed.x=3", "--set seed: must be a whole number, found {'x': 3}", id="too deep"),
        pytest.param("coarse..epochs=3", "--set coarse.: unknown key", id="two dots"),
        pytest.param("seed=abc", "--set seed: must be a whole number, found 'abc'", id="text"),
    ],
)
def test_a_wrong_override_names_itself(written: Callable[[str], Path], override: str, said: str) -> None:
    """A fault that comes from the command line is not blamed on the file."""
    assert fault_of(written(TASK), override).startswith(said)


def test_a_fault_of_the_file_is_not_blamed_on_a_similar_override(written: Callable[[str], Path]) -> None:
    """`--set run_dir=x` has nothing to do with the file's `run_dirs`."""
    assert fault_of(written(f"{TASK}run_dirs: x\n"), "run_dir=x").startswith(
        "digits.yaml: run_dirs: unknown key"
    )


def test_overrides_leave_the_callers_values_alone() -> None:
    """The mapping that overrides are laid over is copied."""
    args = {"hidden": 1}
    config = config_from_overrides(["args.hidden=2"], task="a.py:f", args=args)
    assert config.args == {"hidden": 2}
    assert args == {"hidden": 1}


def test_a_bare_task_needs_no_file() -> None:
    """Overrides alone make a configuration, and faults are theirs."""
    assert config_from_overrides(["seed=2"], task="a.py:f").seed == 2
    with pytest.raises(ConfigError, match=r"^--set seed: must be"):
        config_from_overrides(["seed=x"], task="a.py:f")
