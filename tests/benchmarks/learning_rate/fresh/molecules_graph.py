"""A property of small molecules from atoms and bonds: a graph network that sums messages, by NAdam."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

MOLECULES, TRAIN, ATOMS, ELEMENTS, WIDTH = 3000, 2560, 12, 5, 32


def _molecules() -> tuple[Tensor, Tensor, Tensor]:
    """Return elements `[n, ATOMS]` (0: no atom), bonds `[n, ATOMS, ATOMS]` and the property `[n, 1]`."""
    draw = torch.Generator().manual_seed(18)
    sizes = torch.randint(5, ATOMS + 1, (MOLECULES,), generator=draw)
    present = torch.arange(ATOMS) < sizes[:, None]
    elements = torch.randint(1, ELEMENTS + 1, (MOLECULES, ATOMS), generator=draw) * present
    bonds = torch.zeros(MOLECULES, ATOMS, ATOMS)
    rows = torch.arange(MOLECULES)
    for atom in range(1, ATOMS):  # a tree: each atom hangs on one of the three before it
        back = torch.randint(1, 4, (MOLECULES,), generator=draw).clamp(max=atom)
        bonds[rows, atom, atom - back] = present[:, atom].float()
    ring = torch.rand(MOLECULES, generator=draw) < 0.5
    bonds[ring, 4, 0] = 1.0
    bonds = torch.maximum(bonds, bonds.transpose(1, 2))
    charge = torch.tensor([0.0, 0.2, -0.3, 0.9, -1.0, 0.5])[elements]
    pairs = torch.einsum("ni,nij,nj->n", charge, bonds, charge)
    crowded = ((bonds.sum(2) >= 3) * charge.abs()).sum(1)
    found = charge.sum(1) + 1.5 * pairs + crowded + 0.8 * ring + 0.1 * torch.randn(MOLECULES, generator=draw)
    return elements, bonds, ((found - found.mean()) / found.std()).unsqueeze(1)


class _Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.update = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, atoms: Tensor, bonds: Tensor) -> Tensor:
        return atoms + self.norm(self.update(atoms + bonds @ atoms))


class _Graph(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.element = nn.Embedding(ELEMENTS + 1, WIDTH, padding_idx=0)
        self.first, self.second, self.third = _Layer(), _Layer(), _Layer()
        self.head = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def forward(self, elements: Tensor, bonds: Tensor) -> Tensor:
        present = (elements > 0).unsqueeze(2)
        atoms = self.element(elements)
        for layer in (self.first, self.second, self.third):
            atoms = layer(atoms, bonds) * present
        return self.head(atoms.mean(1))


def _squared_error(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    elements, bonds, target = batch
    output = model(elements, bonds)
    return {"loss": nn.functional.mse_loss(output, target), "output": output, "target": target}


def _task() -> lrtune.Task:
    columns = _molecules()
    train = TensorDataset(*(column[:TRAIN] for column in columns))
    val = TensorDataset(*(column[TRAIN:] for column in columns))
    return lrtune.Task(model=_Graph, train=train, val=val, step=_squared_error)


CASE = Case(
    name="molecules-graph",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "nadam"}, "coarse": {"epochs": 3}},
    guess=1e-3,
)
