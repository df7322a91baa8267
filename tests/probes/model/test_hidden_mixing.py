from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import codes, context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader, TensorDataset

import lrtune
from lrtune.probes.model.place_in_batch import dependence
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init

DATA = TensorDataset(torch.randn(96, 6, 12, generator=generator(0)), torch.arange(96) % 3)


class Tokens(nn.Module):
    """Tokens behind a class token, through an encoder.

    Args:
        batch_first: Of the encoder.
        deaf: Whether the class token is read without any attention.
        pooled: Whether the mean of all tokens is read.
    """

    def __init__(self, batch_first: bool, deaf: bool = False, pooled: bool = False) -> None:
        super().__init__()
        self.deaf, self.pooled = deaf, pooled
        self.embed, self.token = nn.Linear(12, 16), nn.Parameter(torch.randn(1, 1, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=batch_first)
        self.head = nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        tokens = torch.cat([self.token.expand(len(inputs), -1, -1), self.embed(inputs)], dim=1)
        tokens = tokens if self.deaf else self.layer(tokens)
        return self.head(tokens.mean(1) if self.pooled else tokens[:, 0])


def step(model: nn.Module, batch: Any) -> dict[str, Tensor]:
    """Score a pair."""
    output = model(batch[0])
    return {"loss": F.cross_entropy(output, batch[1]), "output": output, "target": batch[1]}


def context(model: Any, seed: int, steps: bool = False) -> Any:
    """A program made ready."""
    fields: dict[str, Any] = {"step": step} if steps else {"loss": nn.CrossEntropyLoss()}
    return context_of(lrtune.Task(model=model, train=DataLoader(DATA, 16), **fields), seed=seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("steps", [False, True])
def test_a_class_token_that_attends_along_the_batch(seed: int, steps: bool) -> None:
    """The output is a constant; why, is told before that it is one."""
    made = context(lambda: Tokens(batch_first=False), seed, steps)
    result = check_init(made)
    assert codes(result)[:2] == ["batch-mixing", "input-ignored"]
    found = result.findings[0]
    assert "depends on no input" in found.message
    assert "model.layer" in found.message
    assert "batch_first=True" in (found.fix or "")


@pytest.mark.parametrize("seed", range(3))
def test_healthy_counterparts(seed: int) -> None:
    """A class token that attends to its own tokens, and a constant model in which nothing mixes."""
    assert codes(check_init(context(lambda: Tokens(batch_first=True), seed))) == []
    deaf = context(lambda: Tokens(batch_first=True, deaf=True), seed)
    assert "batch-mixing" not in codes(check_init(deaf))


def test_an_output_that_shows_it() -> None:
    """The mean of tokens shows the mixing itself."""
    made = context(lambda: Tokens(batch_first=False, pooled=True), 0)
    train = made.data.train
    seen = dependence(Sample(made.program, train, train.head(2, 0), 0))
    assert seen is not None
    assert not seen.hidden
