from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import blob_task, mlp, no_loader, program_of

from lrtune.config import OptimizerConfig
from lrtune.errors import ConfigError, UserCodeError
from lrtune.population.optimizers import optimizer_factory


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"name": "LBFGS"}, "LBFGS needs a closure", id="needs a closure"),
        pytest.param({"name": "adm"}, r"has no 'adm'; did you mean 'adam'\?", id="unknown name"),
        pytest.param({"name": "Optimizer"}, "has no 'Optimizer'", id="the base class"),
        pytest.param(
            {"name": "sgd", "momentun": 0.9}, "takes no such keyword; did you mean 'momentum'", id="keyword"
        ),
        pytest.param({"name": "sgd", "params": []}, "optimizer.params", id="params"),
        pytest.param(
            {"name": "sgd", "nesterov": True}, "refuses its settings", id="settings that do not fit"
        ),
        pytest.param({"name": "adam", "betas": [2.0, 0.9]}, "refuses its settings", id="value out of range"),
    ],
)
def test_refused(settings: dict[str, Any], message: str) -> None:
    """Optimizers that cannot be used are refused with the reason, before anything is trained."""
    with pytest.raises(ConfigError, match=message):
        program_of(blob_task(), **settings).build_optimizer(mlp(), 0.1, 0.0)


@pytest.mark.parametrize("key", ["lr", "weight_decay"])
def test_searched_keys_are_refused(key: str) -> None:
    """Learning rate and weight decay are what is looked for, so they are no keywords of the optimizer."""
    with pytest.raises(ValueError, match=f"'{key}' is what lrtune looks for"):
        OptimizerConfig(name="sgd", **{key: 0.1})


@pytest.mark.parametrize(
    "name", ["sgd", "SGD", "adamw", "AdamW", "RMSprop", "nadam", "RAdam", "Adadelta", "Rprop"]
)
def test_by_name(name: str) -> None:
    """Any class of torch.optim is found by its name in any case; without a decay of its own it is told none."""
    program = program_of(blob_task(), name=name)
    optimizer = program.build_optimizer(mlp(), 0.01, 0.1)
    assert type(optimizer).__name__.lower() == name.lower()
    assert optimizer.param_groups[0]["lr"] == 0.01
    assert program.decays is (name != "Rprop")
    if program.decays:
        assert optimizer.param_groups[0]["weight_decay"] == 0.1


def test_the_tasks_own_comes_first() -> None:
    """A task's optimizer is used whatever the configuration names, and gets rate and decay."""
    seen: list[tuple[float, float]] = []

    def own(model: Any, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        seen.append((lr, weight_decay))
        return torch.optim.Adam(model.parameters(), lr)

    program = program_of(blob_task(optimizer=own), name="nothing of torch")
    assert isinstance(program.build_optimizer(mlp(), 0.5, 0.25), torch.optim.Adam)
    assert seen == [(0.5, 0.25)]


def test_by_file() -> None:
    """`file.py:function` is loaded, and gets the configuration's further keys."""
    config = OptimizerConfig(name="mine.py:make", momentum=0.5)

    def load(name: str, role: str) -> Any:
        assert (name, role) == ("mine.py:make", "optimizer")
        return lambda model, lr, wd, momentum: torch.optim.SGD(
            model.parameters(), lr, momentum, weight_decay=wd
        )

    factory, decays = optimizer_factory(blob_task(), config, load)
    assert decays
    assert factory(mlp(), 0.1, 0.2).param_groups[0]["momentum"] == 0.5


def test_own_optimizers_that_raise() -> None:
    """An exception in the task's optimizer is the user's."""

    def own(model: Any, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        raise KeyError("head")

    factory, _ = optimizer_factory(blob_task(optimizer=own), OptimizerConfig(), no_loader)
    with pytest.raises(UserCodeError, match="calling the task's optimizer"):
        factory(mlp(), 0.1, 0.0)


class Lion(torch.optim.SGD):
    """A class of the user's, with a decay."""

    def __init__(self, params: Any, lr: float, weight_decay: float = 0.0, nerve: float = 1.0) -> None:
        super().__init__(params, lr, weight_decay=weight_decay)
        self.nerve = nerve


class Plain(torch.optim.SGD):
    """A class of the user's, without one."""

    def __init__(self, params: Any, lr: float) -> None:
        if lr > 1:
            raise RuntimeError("too high")
        super().__init__(params, lr)


def of_file(found: Any, **keywords: Any) -> Any:
    """Return the factory of what `mine.py:found` names, and whether it takes a decay."""
    config = OptimizerConfig(name="mine.py:found", **keywords)
    return optimizer_factory(blob_task(), config, lambda name, role: found)


def test_a_class_by_file() -> None:
    """A class gets model.parameters(), rate, decay where it takes one, and the further keys as keywords."""
    factory, decays = of_file(Lion, nerve=2.0)
    made = factory(mlp(), 0.1, 0.25)
    assert (type(made), made.nerve, decays) == (Lion, 2.0, True)
    assert (made.param_groups[0]["lr"], made.param_groups[0]["weight_decay"]) == (0.1, 0.25)
    factory, decays = of_file(Plain)
    assert (type(factory(mlp(), 0.1, 0.25)), decays) == (Plain, False)


def test_a_class_by_file_that_raises() -> None:
    """What its constructor raises is the user's; a keyword that it does not take is a fault of the config."""
    with pytest.raises(UserCodeError, match="too high"):
        of_file(Plain)[0](mlp(), 2.0, 0.0)
    with pytest.raises(
        ConfigError, match=r"optimizer.nerves: mine.py:found takes no such keyword; did you mean 'n"
    ):
        of_file(Lion, nerves=1.0)


@pytest.mark.parametrize(
    ("found", "keywords"),
    [
        pytest.param(lambda params, lr: None, {}, id="too few"),
        pytest.param(lambda model, lr, weight_decay: None, {"momentum": 0.9}, id="keyword"),
        pytest.param(lambda model, lr, weight_decay, more: None, {}, id="too many"),
    ],
)
def test_a_function_of_another_signature(found: Any, keywords: dict[str, Any]) -> None:
    """One message says what is expected and what was found, before anything is trained."""
    with pytest.raises(
        ConfigError, match=r"expected \(model, lr, weight_decay.*\) -> .*mine.py:found takes \("
    ):
        of_file(found, **keywords)
