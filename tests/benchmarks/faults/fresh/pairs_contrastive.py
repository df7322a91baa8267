"""Two noisy views of each object, to be told apart from those of others: a contrastive encoder."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

SENSORS = 24


class Views(Dataset):
    """Pairs of readings `[SENSORS]` of the same object, which differ by noise and by dropped sensors."""

    def __init__(self, count: int, one_view: bool = False) -> None:
        draw = torch.Generator().manual_seed(111)
        objects = torch.randn(count, 6, generator=draw)
        mixing = torch.randn(6, 2 * SENSORS, generator=draw) / 2
        clean = torch.tanh(objects @ mixing) @ torch.randn(2 * SENSORS, SENSORS, generator=draw)
        clean = (clean - clean.mean(dim=0)) / clean.std(dim=0)
        noise = 0.5 * torch.randn(2, count, SENSORS, generator=draw)
        kept = torch.rand(2, count, SENSORS, generator=draw) < 0.75
        self.views = (clean + noise) * kept
        if one_view:
            self.views = self.views[:1].repeat(2, 1, 1)

    def __len__(self) -> int:
        return self.views.shape[1]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.views[0, index], self.views[1, index]


class Encoder(nn.Module):
    """A perceptron whose outputs lie on the unit sphere."""

    def __init__(self, width: int = 96, over_batch: bool = False) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Linear(SENSORS, width), nn.LayerNorm(width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.projection = nn.Linear(width, 24, bias=False)
        self.over_batch = over_batch

    def forward(self, views: Tensor) -> Tensor:
        """Map `[batch, SENSORS]` to unit vectors `[batch, 24]`."""
        return F.normalize(self.projection(self.trunk(views)), dim=0 if self.over_batch else 1)


def info_nce(
    model: nn.Module,
    batch: tuple[Tensor, Tensor],
    temperature: float = 0.2,
    bug: str = "",
) -> dict[str, Tensor]:
    """Score how well each view finds its partner among the batch."""
    a, b = (model(view) for view in batch)
    similarity = a @ b.T / temperature
    partner = torch.arange(len(a))
    if bug == "class 0":
        partner = torch.zeros(len(a), dtype=torch.long)
    reduction = "sum" if bug == "sum" else "mean"
    loss = F.cross_entropy(similarity, partner, reduction=reduction)
    loss = (loss + F.cross_entropy(similarity.T, partner, reduction=reduction)) / 2
    if bug == "spread":
        # Pushes embeddings of a batch apart; the distance of each to itself is in it, too.
        distance = ((a.unsqueeze(0) - a.unsqueeze(1)) ** 2).sum(dim=-1).sqrt()
        loss = loss + 0.1 * (-distance).exp().mean()
    return {"loss": loss, "output": similarity, "target": partner}


def make_task(
    one_view: bool = False, over_batch: bool = False, temperature: float = 0.2, bug: str = ""
) -> lrtune.Task:
    """Describe the training."""
    return lrtune.Task(
        model=lambda: Encoder(over_batch=over_batch),
        train=Views(1200, one_view),
        step=partial(info_nce, temperature=temperature, bug=bug),
    )


CASE = Case(
    name="contrastive pairs",
    healthy=make_task,
    faults=(
        Fault("normalised over the batch", ("batch-mixing",), lambda: make_task(over_batch=True)),
        Fault("the same view twice", ("initial-loss-low", "target-leak"), lambda: make_task(one_view=True)),
        Fault("temperature of 0.001", ("initial-loss-high",), lambda: make_task(temperature=0.001)),
        Fault(
            "everyone's partner is the first",
            ("constant-target",),
            lambda: make_task(bug="class 0"),
        ),
        Fault("root of the distance to itself", ("nonfinite-gradient",), lambda: make_task(bug="spread")),
        Fault("loss summed over the batch", ("loss-not-mean",), lambda: make_task(bug="sum")),
    ),
    config={"batch_size": 48},
)
