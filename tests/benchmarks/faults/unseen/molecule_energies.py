"""The energy of a molecule from its bonds, by message passing over graphs batched by index tensors."""

from __future__ import annotations

import functools
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lrtune

ELEMENTS = ("c", "n", "o", "cl")
BONDS = ("single_bond", "double_bond")

Graph = dict[str, Any]


def make_molecules(count: int, seed: int) -> list[Graph]:
    """Draw molecules: the symbols of their atoms, bonds of two kinds, and an energy of deviation 1."""
    generator = torch.Generator().manual_seed(seed)
    affinity = torch.tensor(
        [[0.3, -0.6, -1.0, -0.4], [-0.6, 0.8, 0.5, 0.2], [-1.0, 0.5, 1.1, 0.4], [-0.4, 0.2, 0.4, 0.9]]
    )
    molecules = []
    for _ in range(count):
        atoms = int(torch.randint(6, 15, (), generator=generator))
        kinds = torch.multinomial(torch.tensor([0.5, 0.2, 0.2, 0.1]), atoms, True, generator=generator)
        parents = (torch.rand(atoms - 1, generator=generator) * torch.arange(1, atoms)).long()
        ring = torch.randint(0, atoms, (2, 2), generator=generator)
        bonds = torch.cat([torch.stack([parents, torch.arange(1, atoms)]), ring[:, ring[0] != ring[1]]], 1)
        double = (torch.rand(bonds.shape[1], generator=generator) < 0.3).long()
        strength = affinity[kinds[bonds[0]], kinds[bonds[1]]] * (1 + double)
        energy = (strength.sum() / atoms + 0.16) / 0.32
        symbols = [ELEMENTS[kind].capitalize() for kind in kinds.tolist()]
        molecules.append({"symbols": symbols, "bonds": bonds, "double": double, "energy": energy})
    return molecules


def featurise(symbols: list[str], lower: bool) -> Tensor:
    """Encode symbols as one-hot rows, the first element standing for whatever is not known."""
    numbers = {symbol: number for number, symbol in enumerate(ELEMENTS)}
    found = [numbers.get(symbol.lower() if lower else symbol, 0) for symbol in symbols]
    return nn.functional.one_hot(torch.tensor(found), len(ELEMENTS)).float()


def collate(
    molecules: list[Graph], offset: bool = True, column: bool = True, lower: bool = True
) -> dict[str, Tensor]:
    """Join molecules to one graph with several components.

    Args:
        molecules: Of the batch.
        offset: Whether the atoms of a bond are counted from the batch's first atom, not the molecule's.
        column: Whether the energies are `[graphs, 1]`.
        lower: Whether symbols are looked up in lower case, like the table's.
    """
    sizes = [len(molecule["symbols"]) for molecule in molecules]
    starts = [sum(sizes[:index]) if offset else 0 for index in range(len(sizes))]
    edges = torch.cat([m["bonds"] + start for m, start in zip(molecules, starts, strict=True)], dim=1)
    double = torch.cat([molecule["double"] for molecule in molecules])
    energies = torch.stack([molecule["energy"] for molecule in molecules])
    return {
        "x": torch.cat([featurise(molecule["symbols"], lower) for molecule in molecules]),
        "edges": torch.cat([edges, edges.flip(0)], dim=1),  # a bond carries messages both ways
        "double": torch.cat([double, double]),
        "graph": torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)),
        "energy": energies.unsqueeze(1) if column else energies,
    }


def scatter_mean(values: Tensor, index: Tensor, size: int) -> Tensor:
    """Average the rows that go to the same place."""
    total = values.new_zeros(size, values.shape[1]).index_add_(0, index, values)
    count = values.new_zeros(size).index_add_(0, index, values.new_ones(len(index)))
    return total / count.clamp(min=1).unsqueeze(1)


class Convolution(nn.Module):
    """Messages by kind of bond, gathered as their mean and deviation, and added to the atom.

    Args:
        width: Features of an atom.
        eps: Keeps the deviation's derivative finite where all messages are equal.
        plain_dict: Whether the kinds' layers stand in a plain dict.
    """

    def __init__(self, width: int, eps: float, plain_dict: bool) -> None:
        super().__init__()
        self.eps = eps
        messages = {kind: nn.Linear(width, width) for kind in BONDS}
        self.messages = messages if plain_dict else nn.ModuleDict(messages)
        self.update = nn.Linear(3 * width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, edges: Tensor, double: Tensor) -> Tensor:
        """Map features `[atoms, width]` to features of the same shape."""
        source, destination = edges
        by_kind = torch.stack([self.messages[kind](x)[source] for kind in BONDS])
        sent = torch.where(double.bool().unsqueeze(1), by_kind[1], by_kind[0])
        mean = scatter_mean(sent, destination, len(x))
        variance = scatter_mean(sent.square(), destination, len(x)) - mean.square()
        deviation = (variance.clamp(min=0) + self.eps).sqrt()
        return x + self.update(torch.cat([self.norm(x), mean, deviation], dim=1)).relu()


class EnergyNet(nn.Module):
    """Convolutions over the bonds, and the mean over each molecule's atoms.

    Args:
        width: Features of an atom.
        eps: See `Convolution`.
        plain_dict: See `Convolution`.
    """

    def __init__(self, width: int = 32, eps: float = 1e-5, plain_dict: bool = False) -> None:
        super().__init__()
        self.embed = nn.Linear(len(ELEMENTS), width)
        self.convolutions = nn.ModuleList(Convolution(width, eps, plain_dict) for _ in range(2))
        self.readout = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Map a batch of molecules to their energies `[graphs, 1]`."""
        x = self.embed(batch["x"])
        for convolution in self.convolutions:
            x = convolution(x, batch["edges"], batch["double"])
        return self.readout(scatter_mean(x, batch["graph"], int(batch["graph"].max()) + 1))


def energy_step(model: nn.Module, batch: dict[str, Tensor], loss: str = "mean") -> dict[str, Tensor]:
    """Score the energies of a batch.

    Args:
        model: Of the energies.
        batch: Of molecules.
        loss: `mean` or `sum` over the molecules, or the mean of a `list` of the molecules' losses.
    """
    output, target = model(batch), batch["energy"]
    if loss == "list":
        losses = [nn.functional.mse_loss(one, other) for one, other in zip(output, target, strict=True)]
        error = torch.tensor(losses, requires_grad=True).mean()
    else:
        error = nn.functional.mse_loss(output, target, reduction=loss)
    return {"loss": error, "output": output, "target": target}


def make_task(loss: str = "mean", network: dict[str, Any] | None = None, **batching: bool) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    load = functools.partial(DataLoader, batch_size=32, collate_fn=functools.partial(collate, **batching))
    return lrtune.Task(
        model=lambda: EnergyNet(**(network or {})),
        train=load(make_molecules(900, seed=51), shuffle=True),
        val=load(make_molecules(150, seed=52)),
        step=functools.partial(energy_step, loss=loss),
    )


CASE = Case(
    name="molecule-energies",
    healthy=make_task,
    faults=(
        Fault(
            "bonds of all molecules lead to the first one's atoms",
            ("batch-mixing",),
            functools.partial(make_task, offset=False),
        ),
        Fault(
            "energies [graphs] against output [graphs, 1]",
            ("broadcast-target", "target-shape-mismatch"),
            functools.partial(make_task, column=False),
        ),
        Fault(
            "the bonds' layers in a plain dict",
            ("unregistered-parameter",),
            functools.partial(make_task, network={"plain_dict": True}),
        ),
        Fault(
            "the square root of a variance that is 0",
            ("nonfinite-gradient",),
            functools.partial(make_task, network={"eps": 0.0}),
        ),
        Fault(
            "a new tensor made of the molecules' losses",
            ("detached-loss",),
            functools.partial(make_task, loss="list"),
        ),
        Fault(
            "squared errors summed over the batch",
            ("loss-not-mean",),
            functools.partial(make_task, loss="sum"),
        ),
        Fault(
            "no symbol found in the table, so that all atoms are carbon",
            ("constant-input",),
            functools.partial(make_task, lower=False),
        ),
    ),
)
