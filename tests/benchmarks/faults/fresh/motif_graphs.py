"""Which motif a small graph was grown around: message passing over batches of graphs put side by side."""

from __future__ import annotations

from typing import TypedDict

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn

import lrtune

NODES = 12
MOTIFS = (
    ((0, 1), (1, 2), (2, 3), (3, 4), (4, 0)),
    ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5)),
    ((0, 1), (1, 2), (2, 0), (2, 3), (3, 0), (1, 3)),
)


class Graphs(TypedDict):
    """A batch: features of all nodes, edges between them, the graph of each node, and the motif of each graph."""

    x: Tensor
    edges: Tensor
    graph: Tensor
    motif: Tensor


def grow(motif: int, draw: torch.Generator) -> Tensor:
    """Return edges `[2, count]` of a motif with further nodes hung onto it, numbered in any order."""
    edges = list(MOTIFS[motif])
    first = 1 + max(node for edge in edges for node in edge)
    for node in range(first, NODES):
        edges.append((int(torch.randint(node, (), generator=draw)), node))
    names = torch.randperm(NODES, generator=draw)
    pairs = names[torch.tensor(edges)].T
    return torch.cat([pairs, pairs.flip(0)], dim=1)


def collate(edges: list[Tensor], motifs: list[int], offset: bool) -> Graphs:
    """Put graphs side by side in one large graph; nodes know how many neighbours they have."""
    count = len(edges)
    degrees = torch.cat([torch.bincount(e[0], minlength=NODES) for e in edges])
    return {
        "x": nn.functional.one_hot(degrees.clamp(max=7), 8).float(),
        "edges": torch.cat([e + NODES * i * offset for i, e in enumerate(edges)], dim=1),
        "graph": torch.arange(count).repeat_interleave(NODES),
        "motif": torch.tensor(motifs),
    }


def make_batches(count: int, size: int, offset: bool = True) -> list[Graphs]:
    """Grow so many batches of so many graphs."""
    draw = torch.Generator().manual_seed(131)
    batches = []
    for _ in range(count):
        motifs = torch.randint(len(MOTIFS), (size,), generator=draw).tolist()
        batches.append(collate([grow(motif, draw) for motif in motifs], motifs, offset))
    return batches


class Convolution(nn.Module):
    """Mixes what a node says of itself with what its neighbours say, on average or in sum."""

    def __init__(self, inputs: int, outputs: int, average: bool, bound: float | None) -> None:
        super().__init__()
        self.own, self.others = nn.Linear(inputs, outputs), nn.Linear(inputs, outputs, bias=False)
        self.average = average
        if bound is not None:
            for layer in (self.own, self.others):
                nn.init.uniform_(layer.weight, -bound, bound)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Map features of nodes `[nodes, inputs]` to `[nodes, outputs]`."""
        heard = torch.zeros_like(x).index_add_(0, edges[1], x[edges[0]])
        if self.average:
            degree = torch.bincount(edges[1], minlength=len(x)).clamp(min=1)
            heard = heard / degree.unsqueeze(1)
        return self.own(x) + self.others(heard)


class GraphNet(nn.Module):
    """Some convolutions, the mean over the nodes of each graph and a linear head."""

    def __init__(self, width: int = 40, depth: int = 3, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        self.embed = nn.Linear(8, width)
        if bug == "wide sum":
            convolutions = [Convolution(width, width, average=False, bound=1.0) for _ in range(depth)]
        else:
            convolutions = [Convolution(width, width, average=True, bound=None) for _ in range(depth)]
        self.convolutions = convolutions if bug == "plain list" else nn.ModuleList(convolutions)
        self.head = nn.Linear(2 * width, len(MOTIFS))

    def forward(self, x: Tensor, edges: Tensor, graph: Tensor, graphs: int) -> Tensor:
        """Map a batch to logits `[graphs, motifs]`."""
        x = self.embed(x)
        for convolution in self.convolutions:
            y = torch.relu(convolution(x, edges))
            if not (self.bug == "last unused" and convolution is self.convolutions[-1]):
                x = y
        if self.bug == "pooled over all":
            mean, largest = x.mean(dim=0, keepdim=True), x.amax(dim=0, keepdim=True)
            pooled = torch.cat([mean, largest], dim=1).expand(graphs, -1)
        else:
            index = graph.unsqueeze(1).expand_as(x)
            zeros = x.new_zeros(graphs, x.shape[1])
            mean = zeros.scatter_reduce(0, index, x, "mean", include_self=False)
            largest = zeros.scatter_reduce(0, index, x, "amax", include_self=False)
            pooled = torch.cat([mean, largest], dim=1)
        return self.head(pooled)


def classify(model: nn.Module, batch: Graphs) -> dict[str, Tensor]:
    """Score the guesses of a batch."""
    logits = model(batch["x"], batch["edges"], batch["graph"], len(batch["motif"]))
    loss = nn.functional.cross_entropy(logits, batch["motif"])
    return {"loss": loss, "output": logits, "target": batch["motif"]}


def make_task(bug: str = "", offset: bool = True, depth: int = 3) -> lrtune.Task:
    """Describe the training."""
    return lrtune.Task(
        model=lambda: GraphNet(bug=bug, depth=depth), train=make_batches(30, 40, offset), step=classify
    )


CASE = Case(
    name="motif graphs",
    healthy=make_task,
    faults=(
        Fault(
            "edges of all graphs point into the first",
            ("batch-mixing",),
            lambda: make_task(offset=False),
        ),
        Fault(
            "nodes pooled over the batch",
            ("batch-mixing",),
            lambda: make_task("pooled over all"),
        ),
        Fault("convolutions in a list", ("unregistered-parameter",), lambda: make_task("plain list")),
        Fault("last convolution unused", ("parameter-without-gradient",), lambda: make_task("last unused")),
        Fault(
            "wide weights and summed neighbours",
            ("exploding-gradient", "initial-loss-high"),
            lambda: make_task("wide sum", depth=6),
        ),
    ),
    config={"optimizer": {"name": "adam"}},
)
