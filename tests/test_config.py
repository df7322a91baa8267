from __future__ import annotations

from typing import Any

import pytest

from lrtune import Config, ConfigError, LrtuneError, UsageError


def message_of(**keys: Any) -> str:
    """Return what `Config` says of these keys."""
    with pytest.raises(ConfigError) as caught:
        Config(**keys)
    return str(caught.value)


def test_defaults_are_the_designs() -> None:
    """Every key but `task` has the default that the documentation names."""
    assert Config(task="model.py:make_task").model_dump() == {
        "task": "model.py:make_task",
        "args": {},
        "seed": 0,
        "population": {"execution": "auto", "members": None, "workers": None},
        "device": "auto",
        "precision": "float32",
        "batch_size": 64,
        "optimizer": {"name": "sgd", "momentum": 0.9},
        "run_dir": None,
        "overfit": {"batches": 5, "steps": 300},
        "find_lr": {"min": 1e-7, "max": 10.0, "steps": 100, "repeats": 3, "weight_decay": 1e-4},
        "coarse": {
            "lr": "auto",
            "weight_decay": [0.0, 1e-5, 1e-4],
            "epochs": 3,
            "axes": {},
            "halving": None,
        },
        "refine": {
            "trials": 20,
            "epochs": 15,
            "sampler": "tpe",
            "pruner": "none",
            "timeout": None,
            "seeds": 3,
        },
        "storage": None,
        "study": None,
        "workers": {"heartbeat": 15, "patience": 300},
    }


def test_no_key_is_needed_in_python() -> None:
    """`Config()` is a whole configuration: a task in code has no name."""
    assert Config().task is None


def test_a_section_keeps_the_defaults_of_keys_left_out() -> None:
    """One key of a section leaves the others as they are."""
    assert Config(coarse={"epochs": 1}).coarse.weight_decay == [0.0, 1e-5, 1e-4]


def test_an_optimizer_of_ones_own_has_no_momentum() -> None:
    """The default optimizer's keywords do not leak into one that the user names."""
    config = Config(optimizer={"name": "adamw", "betas": [0.9, 0.95]})
    assert config.optimizer.name == "adamw"
    assert config.optimizer.keywords == {"betas": [0.9, 0.95]}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        pytest.param({"epoch": 1}, "Config: epoch: unknown key (known: task, args", id="unknown key"),
        pytest.param({"overfti": {}}, "Config: overfti: unknown key; did you mean 'overfit'?", id="typo"),
        pytest.param(
            {"coarse": {"epoch": 1}},
            "Config: coarse.epoch: unknown key; did you mean 'epochs'? "
            "(known: lr, weight_decay, epochs, axes, halving)",
            id="typo in a section",
        ),
        pytest.param({"seed": 1.5}, "Config: seed: must be a whole number, found 1.5", id="fraction"),
        pytest.param(
            {"seed": "1"}, "Config: seed: must be a whole number, found '1'", id="text for a number"
        ),
        pytest.param({"seed": True}, "Config: seed: must be a whole number, found True", id="bool"),
        pytest.param({"seed": -1}, "Config: seed: must be at least 0, found -1", id="negative seed"),
        pytest.param({"seed": 2**32}, "Config: seed: must be below 4294967296", id="seed of 33 bits"),
        pytest.param({"batch_size": 0}, "Config: batch_size: must be at least 1, found 0", id="no examples"),
        pytest.param({"task": 5}, "Config: task: must be text, found 5", id="number for text"),
        pytest.param(
            {"device": "gpu"}, "Config: device: must be auto, cpu, cuda, cuda:N or mps", id="device"
        ),
        pytest.param({"args": [1]}, "Config: args: must be keys and values", id="list for args"),
        pytest.param({"optimizer": "adam"}, "Config: optimizer: must be keys and values", id="bare name"),
        pytest.param({"overfit": 5}, "Config: overfit: must be keys and values", id="number for a section"),
        pytest.param({"overfit": None}, "Config: overfit: must be keys and values", id="empty section"),
        pytest.param({"coarse": {"lr": 0.1}}, "Config: coarse.lr: must be a list", id="number for a list"),
        pytest.param(
            {"coarse": {"lr": "fast"}}, "Config: coarse.lr: must be 'auto', found 'fast'", id="word"
        ),
        pytest.param({"coarse": {"lr": []}}, "Config: coarse.lr: must hold at least one value", id="no rate"),
        pytest.param(
            {"coarse": {"lr": [0.1, 0.2, -1]}},
            "Config: coarse.lr[2]: must be above 0, found -1",
            id="rate < 0",
        ),
        pytest.param(
            {"coarse": {"lr": [0]}}, "Config: coarse.lr[0]: must be above 0, found 0", id="rate of zero"
        ),
        pytest.param(
            {"coarse": {"lr": [float("inf")]}}, "Config: coarse.lr[0]: must be a finite number", id="infinite"
        ),
        pytest.param(
            {"coarse": {"weight_decay": [0, -1e-4]}},
            "Config: coarse.weight_decay[1]: must be at least 0, found -0.0001",
            id="decay < 0",
        ),
        pytest.param(
            {"find_lr": {"min": float("nan")}}, "Config: find_lr.min: must be a", id="not a number at all"
        ),
        pytest.param({"find_lr": {"steps": 5}}, "Config: find_lr.steps: must be at least 20", id="few steps"),
        pytest.param(
            {"find_lr": {"min": 1.0, "max": 0.1}},
            "Config: find_lr: max (0.1) must be at least ten times min (1)",
            id="range upside down",
        ),
        pytest.param(
            {"refine": {"sampler": "tpo"}},
            "Config: refine.sampler: must be 'tpe', 'gp', 'qmc' or",
            id="sampler",
        ),
        pytest.param(
            {"optimizer": {"name": "sgd", "lr": 0.1}},
            "Config: optimizer: 'lr' is what lrtune looks for",
            id="rate in the optimizer",
        ),
        pytest.param(
            {"optimizer": {"name": "sgd", "weight_decay": 0.1}},
            "Config: optimizer: 'weight_decay' is what lrtune looks for",
            id="decay in the optimizer",
        ),
    ],
)
def test_a_fault_says_where_what_and_the_value_found(keys: dict[str, Any], said: str) -> None:
    """One line holds the key's path, what it must be, and what was found."""
    message = message_of(**keys)
    assert message.startswith(said)
    assert "\n" not in message


def test_all_faults_are_told_at_once() -> None:
    """Three faults in three places give three lines under their count."""
    message = message_of(sed=1, coarse={"epochs": 0, "lr": [0.1, "x"]}, batch_size="64")
    lines = message.splitlines()
    assert lines[0] == "4 faults:"
    assert sorted(line.split(":")[1].strip() for line in lines[1:]) == [
        "batch_size",
        "coarse.epochs",
        "coarse.lr[1]",
        "sed",
    ]


def test_a_fault_is_a_usage_error() -> None:
    """Callers catch a wrong configuration as ConfigError, UsageError or LrtuneError."""
    assert issubclass(ConfigError, UsageError)
    assert issubclass(UsageError, LrtuneError)


def test_pydantics_words_do_not_leak() -> None:
    """The message names neither pydantic nor its help pages."""
    message = message_of(seed="x", coarse={"lr": 3}, optimizer=3, args=None)
    assert "pydantic" not in message.lower()
    assert "http" not in message


def test_a_config_cannot_be_changed() -> None:
    """Assigning to a key fails: results say what settings they were made from."""
    config = Config()
    with pytest.raises(Exception, match="frozen"):
        config.seed = 3


def test_updated_returns_a_checked_copy() -> None:
    """`updated` replaces keys, keeps the others and the original, and checks what it is given."""
    config = Config(seed=3, coarse={"epochs": 2})
    assert config.updated(seed=4).model_dump() == {**config.model_dump(), "seed": 4}
    assert config.seed == 3
    with pytest.raises(ConfigError, match="seed"):
        config.updated(seed=-4)


@pytest.mark.parametrize("value", [None, "off", False])
def test_halving_is_off(value: Any) -> None:
    """Nothing, `off` and YAML's reading of a bare off all mean that no cell is left behind."""
    assert Config(coarse={"halving": value}).coarse.halving is None


@pytest.mark.parametrize(
    ("coarse", "said"),
    [
        ({"axes": {"lr": [0.1]}}, "'lr' has a key of its own: set coarse.lr"),
        ({"axes": {"momentum": [0.9, 0.9]}}, "'momentum' holds a value twice"),
        ({"axes": {"momentum": []}}, "Config: coarse.axes.momentum: must hold at least one value"),
        ({"halving": 1}, "Config: coarse.halving: must be at least 2, found 1"),
    ],
    ids=["rate", "twice", "empty", "halving"],
)
def test_faults_of_the_coarse_grid(coarse: dict[str, Any], said: str) -> None:
    """Axes that are none, and a share that would keep every cell, are refused."""
    assert said in message_of(coarse=coarse)


@pytest.mark.parametrize("storage", ["me:s3cret@host", "s3cret", 3])
def test_a_storage_that_is_none_is_not_repeated(storage: Any) -> None:
    """What cannot be understood may be a password: the message says what is wanted, not what was found."""
    message = message_of(storage=storage)
    assert message.startswith("Config: storage: must be ")
    assert "s3cret" not in message
    assert "s3cret" not in repr(Config(storage="postgresql://me:s3cret@host/db"))
