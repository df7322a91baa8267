from __future__ import annotations

import pytest
import torch
from programs import codes, context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.probes.model.graph_mixing import graph_count
from lrtune.steps.check_init import check_init

GRAPHS = 8
KINDS = ("mean", "attention", "norm")


class Pooled(nn.Module):
    """Message passing, then one row a graph; `bug` is where it runs over all nodes."""

    def __init__(self, kind: str, wrong: bool, words: bool) -> None:
        super().__init__()
        self.kind, self.wrong = kind, wrong
        self.embed: nn.Module = nn.Embedding(12, 16) if words else nn.Linear(6, 16)
        self.heard, self.score, self.head = nn.Linear(16, 16), nn.Linear(16, 1), nn.Linear(16, 3)

    def forward(self, x: Tensor, edges: Tensor, graph: Tensor) -> Tensor:
        """Return logits `[graphs, 3]`."""
        count = int(graph.max()) + 1
        x = self.embed(x)
        x = x + torch.zeros_like(x).index_add(0, edges[1], self.heard(x)[edges[0]])
        if self.wrong and self.kind == "norm":
            x = (x - x.mean(0)) / x.std(0)
        if self.wrong and self.kind == "mean":
            return self.head(x.mean(0).expand(count, -1))
        own = torch.zeros(count, 16, device=x.device)
        share = self.score(x).exp()
        sums = torch.zeros(count, 1).index_add(0, graph, share)
        share = share / (share.sum() if self.wrong and self.kind == "attention" else sums[graph])
        return self.head(own.index_add(0, graph, share * x))


def graphs(
    kind: str, wrong: bool = False, offset: bool = True, shifts: bool = False, words: bool = False
) -> lrtune.Task:
    """Batches of small graphs side by side, in any order of their nodes."""
    batches = []
    for seed in range(4):
        draw = generator(seed)
        sizes = torch.randint(4, 8, (GRAPHS,), generator=draw)
        starts = sizes.cumsum(0) - sizes
        graph = torch.arange(GRAPHS).repeat_interleave(sizes)
        nodes = int(sizes.sum())
        ends = [torch.randint(int(size), (2, 9), generator=draw) for size in sizes]
        edges = torch.cat([e + int(start) * offset for e, start in zip(ends, starts, strict=True)], 1)
        features = torch.randint(12, (nodes,), generator=draw)
        x = features if words else torch.randn(nodes, 6, generator=draw)
        labels = torch.randint(3, (GRAPHS,), generator=draw)
        batches.append({"x": x, "edges": edges, "graph": graph, "y": labels, "starts": starts})

    def step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        edges = batch["edges"] + batch["starts"].repeat_interleave(9) if shifts else batch["edges"]
        output = model(batch["x"], edges, batch["graph"])
        return {"loss": F.cross_entropy(output, batch["y"]), "output": output, "target": batch["y"]}

    return lrtune.Task(model=lambda: Pooled(kind, wrong, words), train=batches, step=step)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("words", [False, True], ids=["real numbers", "kinds of nodes"])
@pytest.mark.parametrize("kind", KINDS)
def test_graphs_side_by_side(kind: str, words: bool, seed: int) -> None:
    """What runs over all nodes of a batch is told, what runs over those of each graph is not."""
    for wrong in (False, True):
        found = codes(check_init(context_of(graphs(kind, wrong, words=words), seed=seed)))
        assert ("batch-mixing" in found) == wrong


def test_edges_that_point_into_the_first_graph() -> None:
    """Node numbers that begin anew with each graph are told, unless the program shifts them itself."""
    assert "batch-mixing" in codes(check_init(context_of(graphs("attention", offset=False))))
    assert "batch-mixing" not in codes(check_init(context_of(graphs("attention", offset=False, shifts=True))))


@pytest.mark.parametrize(
    ("numbers", "count"),
    [
        pytest.param([0, 0, 1, 1, 2], 3, id="sorted"),
        pytest.param([2, 0, 1, 1, 0], 3, id="in any order"),
        pytest.param([0, 2, 2], 0, id="a gap"),
        pytest.param([1, 1, 2], 0, id="from one"),
        pytest.param([0, 1, 2], 0, id="one each"),
        pytest.param([], 0, id="empty"),
    ],
)
def test_graph_count(numbers: list[int], count: int) -> None:
    """Groups are numbered from 0 on without a gap, and are fewer than their members."""
    assert graph_count(torch.tensor(numbers, dtype=torch.int64)) == count
