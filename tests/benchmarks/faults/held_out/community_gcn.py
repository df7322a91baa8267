"""Nodes of a graph find their community: all nodes are one batch, a mask tells the labelled ones."""

from __future__ import annotations

from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional

import lrtune

NODES, COMMUNITIES = 240, 4


def _graph(own_label: bool, scaled: bool, isolated: bool) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(31)
    label = torch.randint(COMMUNITIES, (NODES,), generator=draw)
    alike = label[:, None] == label[None]
    linked = torch.rand(NODES, NODES, generator=draw) < torch.where(alike, 0.1, 0.01)
    linked = linked.triu(1)
    adjacency = (linked | linked.T).float()
    centres = torch.randn(COMMUNITIES, 24, generator=draw)
    features = centres[label] + 1.5 * torch.randn(NODES, 24, generator=draw)
    features = (features - features.mean(dim=0)) / features.std(dim=0)
    if own_label:
        features = torch.cat([features, functional.one_hot(label, COMMUNITIES).float()], dim=1)
    if isolated:
        # A node without an edge, and no self-loops: its degree is 0.
        adjacency[17] = adjacency[:, 17] = 0
    else:
        adjacency = adjacency + torch.eye(NODES)
    if scaled:
        root = adjacency.sum(dim=1).rsqrt()
        adjacency = root[:, None] * adjacency * root[None]
    train = torch.rand(NODES, generator=draw) < 0.35
    return {"x": features, "adj": adjacency, "y": label, "train_mask": train, "val_mask": ~train}


class _GCN(nn.Module):
    def __init__(self, columns: int, layers: int, in_list: bool) -> None:
        super().__init__()
        self.enter = nn.Linear(columns, 32)
        convs = [nn.Linear(32, 32) for _ in range(layers)]
        self.convs = convs if in_list else nn.ModuleList(convs)
        self.leave = nn.Linear(32, COMMUNITIES)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        h = functional.relu(adjacency @ self.enter(x))
        for conv in self.convs:
            h = functional.relu(adjacency @ conv(h))
        return self.leave(functional.dropout(h, 0.2, self.training))


def _masked(
    model: nn.Module, batch: dict[str, Tensor], mask: str = "train_mask", over_all: bool = False
) -> dict[str, Tensor]:
    logits, labels, kept = model(batch["x"], batch["adj"]), batch["y"], batch[mask]
    if over_all:
        loss = (functional.cross_entropy(logits, labels, reduction="none") * kept).mean()
    else:
        loss = functional.cross_entropy(logits[kept], labels[kept])
    return {"loss": loss, "output": logits[kept], "target": labels[kept]}


def _task(
    own_label: bool = False,
    scaled: bool = True,
    isolated: bool = False,
    layers: int = 1,
    in_list: bool = False,
    over_all: bool = False,
) -> lrtune.Task:
    graph = _graph(own_label, scaled, isolated)
    return lrtune.Task(
        model=lambda: _GCN(graph["x"].shape[1], layers, in_list),
        train=[graph],
        step=partial(_masked, over_all=over_all),
        optimizer=lambda model, lr, weight_decay: torch.optim.Adam(
            model.parameters(), lr=lr, weight_decay=weight_decay
        ),
    )


CASE = Case(
    name="community-gcn",
    healthy=_task,
    faults=(
        Fault("features of a node hold its own label", ("target-leak",), partial(_task, own_label=True)),
        Fault(
            "a node of degree 0 divides by its root",
            ("nonfinite-input", "nonfinite-loss"),
            partial(_task, isolated=True),
        ),
        Fault(
            "losses of unlabelled nodes count as zeros",
            ("initial-loss-low", "loss-not-mean"),
            partial(_task, over_all=True),
        ),
        Fault(
            "four convolutions over degrees that nothing scales",
            ("initial-loss-high", "exploding-gradient"),
            partial(_task, scaled=False, layers=4),
        ),
        Fault("convolutions in a plain list", ("unregistered-parameter",), partial(_task, in_list=True)),
    ),
)
