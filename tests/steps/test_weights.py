from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import blob_task, context_of, mlp
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.steps.coarse_grid import coarse_grid
from lrtune.steps.weights import BestWeights, trained_again

if TYPE_CHECKING:
    from lrtune.steps.context import Context


def context(**keys: Any) -> Context:
    """A small grid, its trials one after the other."""
    coarse = {"lr": [0.03, 0.1, 0.3], "weight_decay": [0.0, 1e-4], "epochs": 2}
    return context_of(blob_task(), batch_size=16, coarse=coarse, population={"execution": "serial"}, **keys)


def test_the_best_weights_are_those_of_a_plain_loop() -> None:
    """What is kept are bitwise the weights of the best trial, trained alone."""
    made = replace(context(), weights=BestWeights(wanted=True))
    best = coarse_grid(made, None).summary["best"]
    kept = made.weights.of(best)
    assert kept is not None
    torch.manual_seed(0)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), best["lr"], 0.9, weight_decay=best["weight_decay"])
    for epoch in range(2):
        for inputs, target in made.data.train.epoch(0, epoch):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), target).backward()
            optimizer.step()
    expected = model.state_dict()
    assert kept.keys() == expected.keys()
    assert all(torch.equal(kept[name], expected[name]) for name in expected)


def test_trained_again() -> None:
    """Where no weights were kept, training the trial once more gives the same."""
    made = replace(context(), weights=BestWeights(wanted=True))
    best = coarse_grid(made, None).summary["best"]
    kept, again = made.weights.of(best), trained_again(context(), best, 2)
    assert kept is not None
    assert again.state is not None
    assert again.loss == best["val_loss"]
    assert all(torch.equal(kept[name], again.state[name]) for name in kept)


@pytest.mark.parametrize("key", ["lr", "weight_decay", "seed", "val_loss"])
def test_weights_of_another_trial_are_not_taken(key: str) -> None:
    """A trial that differs in a setting or in its loss has no kept weights."""
    made = replace(context(), weights=BestWeights(wanted=True))
    best = coarse_grid(made, None).summary["best"]
    assert made.weights.of({**best, key: best[key] + 1}) is None


def test_nothing_is_kept_unasked() -> None:
    """Without being asked no weights are held."""
    made = context()
    coarse_grid(made, None)
    assert made.weights.state is None
