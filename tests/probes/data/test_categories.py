from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import codes, context_of, generator
from torch import Tensor, nn

import lrtune
from lrtune.steps.check_init import check_init

DRAW = generator(3)
NUMBERS = torch.randn(128, 4, generator=DRAW)
CODES = torch.randint(1, 6, (128, 3), generator=DRAW)
LABELS = (NUMBERS[:, 0] > 0).long()
UNKNOWN = torch.zeros_like(CODES)


class Table(nn.Module):
    """Numbers beside three categories."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(6, 4) for _ in range(3))
        self.net = nn.Linear(16, 2)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits."""
        parts = [table(batch["codes"][:, place]) for place, table in enumerate(self.tables)]
        return self.net(torch.cat([batch["numbers"], *parts], 1))


class Bert(nn.Module):
    """Words, segments and places."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.segments, self.places = nn.Embedding(6, 8), nn.Embedding(2, 8), nn.Embedding(3, 8)
        self.head = nn.Linear(8, 2)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits."""
        places = torch.arange(3).expand_as(batch["codes"])
        summed = self.words(batch["codes"]) + self.segments(batch["segments"]) + self.places(places)
        return self.head(summed.mean(1))


class Tasked(nn.Module):
    """Numbers beside the number of a task."""

    def __init__(self) -> None:
        super().__init__()
        self.task, self.net = nn.Embedding(5, 4), nn.Linear(8, 2)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits."""
        return self.net(torch.cat([batch["numbers"], self.task(batch["codes"][:, 0])], 1))


class Graph(nn.Module):
    """Nodes told by one-hot rows, averaged over each graph."""

    def __init__(self, features: int = 4) -> None:
        super().__init__()
        self.net, self.head = nn.Linear(features, 8), nn.Linear(8, 2)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Return logits of the graphs."""
        nodes = self.net(batch["x"]).relu()
        graphs = int(batch["graph"].max()) + 1
        return self.head(nodes.new_zeros(graphs, 8).index_add(0, batch["graph"], nodes))


def table(codes: Tensor, **more: Tensor) -> list[dict[str, Tensor]]:
    """Batches of 32 rows."""
    parts = {"numbers": NUMBERS, "codes": codes, "label": LABELS, **more}
    return [{name: one[start : start + 32] for name, one in parts.items()} for start in range(0, 128, 32)]


def graphs(rows: Tensor) -> list[dict[str, Tensor]]:
    """Batches of eight graphs of three to six nodes."""
    found, draw = [], generator(4)
    for _ in range(4):
        sizes = torch.randint(3, 7, (8,), generator=draw)
        at = torch.randint(len(rows), (int(sizes.sum()),), generator=draw)
        found.append(
            {"x": rows[at], "graph": torch.arange(8).repeat_interleave(sizes), "label": (sizes > 4).long()}
        )
    return found


def told(model: Any, batches: list[dict[str, Tensor]], seed: int) -> bool:
    """Whether step 1 speaks of constant inputs."""

    def step(net: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        output = net(batch)
        loss = nn.functional.cross_entropy(output, batch["label"])
        return {"loss": loss, "output": output, "target": batch["label"]}

    task = lrtune.Task(model=model, train=batches, step=step)
    return "constant-input" in codes(check_init(context_of(task, seed=seed)))


ONE = torch.cat([CODES[:, :1], UNKNOWN[:, 1:]], 1)
CASES: dict[str, tuple[Any, list[dict[str, Tensor]], bool]] = {
    "all words unknown": (Table, table(UNKNOWN), True),
    "known words": (Table, table(CODES), False),
    "one category that varies": (Table, table(ONE), False),
    "segments and places": (Bert, table(CODES, segments=UNKNOWN), False),
    "one task": (Tasked, table(UNKNOWN), False),
    "all atoms carbon": (Graph, graphs(torch.eye(4)[:1]), True),
    "atoms": (Graph, graphs(torch.eye(4)), False),
    "no features": (lambda: Graph(1), graphs(torch.ones(1, 1)), False),
    "ones": (Graph, graphs(torch.ones(1, 4)), False),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("model", "batches", "expected"), CASES.values(), ids=CASES)
def test_categories(model: Any, batches: list[dict[str, Tensor]], expected: bool, seed: int) -> None:
    """Categories that are all alike are told, where none beside them varies and no design asks for it."""
    assert told(model, batches, seed) == expected
