from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader

import lrtune
from lrtune.checks.leakage import target_in_tokens, tokens_crossed
from lrtune.probes.data.causality import causality
from lrtune.probes.sample import Sample

TOKENS = torch.randint(11, (64, 9), generator=generator(0))


class Reader(nn.Module):
    """Reads from left to right."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.gru, self.head = (
            nn.Embedding(11, 8),
            nn.GRU(8, 16, batch_first=True),
            nn.Linear(16, 11),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Map `[batch, time]` to logits `[batch, time, 11]`."""
        return self.head(self.gru(self.tokens(tokens))[0])


def found_in(order: str) -> list[str]:
    """The codes for targets in some order."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        seen, following = batch[:, :-1], batch[:, 1:]
        target = {
            "next": following.reshape(-1),
            "same": seen.reshape(-1),
            "previous": seen.roll(1, dims=1).reshape(-1),
            "time first": following.t().reshape(-1),
        }[order]
        return F.cross_entropy(model(seen).flatten(0, 1), target)

    context = context_of(lrtune.Task(model=Reader, train=DataLoader(TOKENS, 16), step=step))  # type: ignore[arg-type]
    seen = causality(Sample(context.program, context.data.train, context.data.train.head(1, 0), 0))
    assert seen is not None
    judged = (target_in_tokens(seen), tokens_crossed(seen))
    return [one.code for one in judged if one is not None]


@pytest.mark.parametrize(
    ("order", "codes"),
    [
        ("next", []),
        ("same", ["target-leak"]),
        ("previous", ["target-leak"]),
        ("time first", ["target-shape-mismatch"]),
    ],
)
def test_orders_of_the_targets(order: str, codes: list[str]) -> None:
    """A model that reads from left to right is to be asked for the next token of its own sequence."""
    assert found_in(order) == codes
