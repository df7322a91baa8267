from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import pytest
import torch
from programs import (
    CPU,
    Constant,
    accuracy,
    batches_of,
    blob_task,
    blobs,
    generator,
    linear_data,
    linear_task,
    mlp,
)
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.data.batches import FixedBatches
from lrtune.data.loaded import IterableBatches
from lrtune.errors import TaskError, UserCodeError
from lrtune.population.evaluation import evaluate_model
from lrtune.population.modes import in_mode


def r_squared(output: Tensor, target: Tensor) -> Tensor:
    """Explained share of the variance: not a mean over batches."""
    return 1 - ((output - target) ** 2).sum() / ((target - target.mean()) ** 2).sum()


@pytest.mark.parametrize("size", [5, 16, 64], ids=["incomplete last batch", "even", "one batch"])
def test_metrics_see_the_whole_split(size: int) -> None:
    """Loss and metrics are those of the whole split at once, however it is cut into batches."""
    data = linear_data(64, noise=1.0)
    inputs, target = data.tensors
    task = linear_task(metrics={"r2": r_squared})
    model = nn.Linear(4, 1)
    loss, metrics = evaluate_model(task, model, batches_of(data, size))
    with torch.no_grad():
        assert loss == pytest.approx(float(F.mse_loss(model(inputs), target)), rel=1e-6)
        whole = float(r_squared(model(inputs), target))
        parts = [float(r_squared(model(x), y)) for x, y in batches_of(data, size).in_order()]
    assert metrics == {"r2": pytest.approx(whole, rel=1e-5)}
    if size < 64:
        assert abs(sum(parts) / len(parts) - whole) > 1e-3


def test_large_outputs_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the outputs do not fit, metrics are means over batches weighted by their size."""
    monkeypatch.setattr("lrtune.population.evaluation._JOINED_BYTES", 10)
    data, model = blobs(10), mlp()
    _, metrics = evaluate_model(blob_task(), model, batches_of(data, 4))
    assert metrics["accuracy"] == pytest.approx(
        float(accuracy(model(data.tensors[0]), data.tensors[1])), rel=1e-6
    )


def test_outputs_of_varying_length() -> None:
    """Sequences of another length in each batch do not join, and their metrics are weighted means."""
    batches = [(torch.ones(2, length, 4), torch.zeros(2, length, dtype=torch.long)) for length in (3, 5)]
    task = lrtune.Task(
        model=lambda: nn.Linear(4, 3),
        train=batches,
        loss=lambda output, target: F.cross_entropy(output.flatten(0, 1), target.flatten()),
        metrics={"length": lambda output, target: torch.tensor(float(output.shape[1]))},
    )
    _, metrics = evaluate_model(task, nn.Linear(4, 3), FixedBatches(batches))
    assert metrics == {"length": 4.0}


def test_a_steps_own_scalars() -> None:
    """Further scalars that a step returns are means weighted by the batches' sizes, numbers or tensors alike."""
    task = lrtune.Task(
        model=lambda: Constant(1.0),
        train=[torch.zeros(1)],
        step=lambda model, batch: {
            "loss": model(batch).sum() * 0 + batch.mean(),
            "size": len(batch),
            "two": torch.tensor([2]),
        },
    )
    loss, metrics = evaluate_model(task, Constant(1.0), FixedBatches([torch.ones(3), torch.zeros(1)]))
    assert loss == pytest.approx(0.75)
    assert metrics == {"size": pytest.approx(2.5), "two": 2.0}


def test_dropout_by_mode() -> None:
    """Evaluation mode drops nothing; training mode does, and twice the same seed drops the same."""
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 3))
    split = batches_of(blobs(48), 16)
    assert evaluate_model(blob_task(), model, split) == evaluate_model(blob_task(), model, split)
    torch.manual_seed(0)
    once = evaluate_model(blob_task(), model, split, training_mode=True)
    assert once != evaluate_model(blob_task(), model, split)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
def test_modes_and_buffers_are_put_back(training: bool) -> None:
    """Each submodule's mode and every buffer are as before, also after an exception."""
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    model.train()
    model[1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    evaluate_model(blob_task(), model, batches_of(blobs(48), 16), training)

    def break_off() -> None:
        with in_mode(model, training):
            model(torch.randn(8, 4, generator=generator(0)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    "metric", [lambda o, t: o.nothing, lambda o, t: 1 / 0], ids=["attribute", "division"]
)
def test_metrics_that_raise(metric: Any) -> None:
    """A metric that raises is the user's code, and named."""
    with pytest.raises(UserCodeError, match="calling the metric 'mine'"):
        evaluate_model(blob_task(metrics={"mine": metric}), mlp(), batches_of(blobs(8), 4))


def step_task(entries: Any) -> lrtune.Task:
    """A task whose step returns the batch's mean as its loss, and what `entries` makes of the batch."""

    def step(model: nn.Module, batch: Tensor) -> Any:
        return OrderedDict(loss=model(batch).sum() * 0 + batch.mean(), **entries(batch))

    return lrtune.Task(model=lambda: Constant(1.0), train=[torch.zeros(1)], step=step)


def test_entries_that_are_no_numbers() -> None:
    """Of a step's dict only scalars are metrics: logits, hidden states, text and None are left alone."""
    others = {
        "logits": torch.ones(3, 2),
        "one_logit": torch.ones(1, 1),
        "hidden_states": (torch.ones(2), torch.ones(2)),
        "past_key_values": None,
        "note": "text",
        "spectrum": torch.ones((), dtype=torch.complex64),
        "share": 0.1,
        "hit": True,
    }
    _, metrics = evaluate_model(step_task(lambda batch: others), Constant(1.0), FixedBatches([torch.ones(3)]))
    assert metrics == {"share": pytest.approx(0.1, rel=1e-12), "hit": 1.0}


@pytest.mark.parametrize("name", ["train_loss", "val_loss", "epoch", "step"])
def test_a_steps_reserved_names(name: str) -> None:
    """A step's metric that would overwrite a column of the curves is refused, and named."""
    task = step_task(lambda batch: {name: 99.0})
    with pytest.raises(TaskError, match=rf"Task\.step\['{name}'\]: the name is taken"):
        evaluate_model(task, Constant(1.0), FixedBatches([torch.ones(3)]))


def test_metrics_of_some_batches() -> None:
    """A metric that a step returns for some batches only is the mean over those, of whatever type it is there."""
    sizes = {3: {"a": torch.tensor(2.0)}, 1: {"b": 5}, 2: {"a": 7, "b": torch.tensor(8)}}
    task = step_task(lambda batch: sizes[len(batch)])
    _, metrics = evaluate_model(task, Constant(1.0), FixedBatches([torch.ones(size) for size in sizes]))
    assert metrics == {"a": pytest.approx((3 * 2 + 2 * 7) / 5), "b": pytest.approx((5 + 2 * 8) / 3)}


def test_scalars_that_change_afterwards() -> None:
    """A total that a step counts on in place is read as it was at each batch."""
    total = torch.zeros(())
    task = step_task(lambda batch: {"total": total.add_(1)})
    _, metrics = evaluate_model(task, Constant(1.0), FixedBatches([torch.ones(2)] * 3))
    assert metrics == {"total": 2.0}


def test_counting_is_no_pass_within_a_pass() -> None:
    """A split of unknown length is counted before it is read, not while a batch is being evaluated."""
    passes = []

    class Split:
        def __iter__(self) -> Any:
            passes.append("open")
            yield from zip(*(part.split(8) for part in blobs(24).tensors), strict=True)
            passes.append("closed")

    loss, metrics = evaluate_model(blob_task(), mlp(), IterableBatches(Split(), CPU, "val"))
    assert passes == ["open", "closed"] * 2
    assert math.isfinite(loss)
    assert metrics.keys() == {"accuracy"}
