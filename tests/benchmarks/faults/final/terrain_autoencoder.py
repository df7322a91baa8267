"""A convolutional autoencoder of patches of terrain; the batches are a list of pairs made beforehand."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn

import lrtune

SIZE = 16


def survey(patches: int) -> Tensor:
    """Draw standardised heights `[patches, 1, 16, 16]`, each a few waves."""
    generator = torch.Generator().manual_seed(55)
    row = torch.linspace(0, 1, SIZE).view(1, -1, 1)
    column = torch.linspace(0, 1, SIZE).view(1, 1, -1)
    heights = torch.zeros(patches, SIZE, SIZE)
    for _ in range(4):
        along, across, phase, height = torch.rand(4, patches, 1, 1, generator=generator)
        heights += (0.5 + height) * torch.sin(6.28 * (1.5 * along * row + 1.5 * across * column + phase))
    return ((heights - heights.mean()) / heights.std()).unsqueeze(1)


class Rounded(nn.Module):
    """Codes as whole steps of an eighth, for storage."""

    def forward(self, x: Tensor) -> Tensor:
        """Round; there is no gradient through it."""
        return (x * 8).round() / 8


class Autoencoder(nn.Module):
    """Two convolutions down, two up; `bug` names the line that is wrong."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.down = nn.Sequential(
            nn.Conv2d(1, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 24, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.code = nn.Linear(24 * 16, 24)
        self.spread = nn.Linear(24, 24 * 16)
        self.up = nn.Sequential(
            nn.ReLU(),
            nn.ConvTranspose2d(24, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1),
        )
        self.stored = Rounded() if bug == "rounded" else nn.Identity()
        if bug == "dead":
            nn.init.constant_(self.down[2].bias, -10.0)
        if bug == "relu":
            self.up.append(nn.ReLU())

    def forward(self, heights: Tensor) -> Tensor:
        """Map heights `[batch, 1, 16, 16]` to the same shape."""
        code = self.stored(self.code(self.down(heights).flatten(1)))
        if self.bug == "data":
            code = code.data
        return self.up(self.spread(code).view(-1, 24, 4, 4))


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    heights = survey(640)
    wanted = heights.squeeze(1) if bug == "squeezed" else heights
    batches = list(zip(heights.split(64), wanted.split(64), strict=True))
    loss = nn.functional.binary_cross_entropy_with_logits if bug == "binary" else nn.functional.mse_loss
    return lrtune.Task(
        model=lambda: Autoencoder(bug),
        train=batches[:8],
        val=batches[8:],
        loss=loss,
        optimizer=lambda model, lr, decay: torch.optim.Adam(model.parameters(), lr=lr, weight_decay=decay),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="terrain-autoencoder",
    healthy=make_task,
    faults=(
        fault(
            "a ReLU behind the decoder, half the heights are negative",
            "relu",
            "cannot-overfit",
            "target-out-of-range",
        ),
        fault("the code's .data decoded", "data", "parameter-without-gradient"),
        fault(
            "codes rounded without a straight-through gradient",
            "rounded",
            "parameter-without-gradient",
            "vanishing-gradient",
        ),
        fault(
            "output [batch, 1, 16, 16] against target [batch, 16, 16]",
            "squeezed",
            "broadcast-target",
            "target-shape-mismatch",
        ),
        fault("biases of -10 before a ReLU", "dead", "dead-units"),
        fault("binary cross-entropy for heights that are standardised", "binary", "target-out-of-range"),
    ),
)
