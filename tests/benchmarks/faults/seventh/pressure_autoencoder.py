"""A sparse autoencoder that fills the gap in maps of air pressure; training data are a plain list of batches."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn

import lrtune

SIDE, CODE = 12, 32


def draw_maps(count: int) -> Tensor:
    """Draw maps with highs and lows as bytes `[count, 12, 12]`."""
    generator = torch.Generator().manual_seed(1013)
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    field = torch.zeros(count, SIDE, SIDE)
    for sign in (1.0, -1.0, 1.0):
        y, x = (SIDE * torch.rand(count, 1, 1, generator=generator) for _ in range(2))
        field += sign * torch.exp(-((row - y) ** 2 + (column - x) ** 2) / 16)
    return (128 + 100 * field + 3 * torch.randn(field.shape, generator=generator)).clamp(0, 255).byte()


def prepare(maps: Tensor, bug: str) -> Tensor:
    """Scale bytes to numbers of mean 0 and deviation 1, about."""
    scaled = maps.float() / 255
    if bug == "twice":
        scaled = scaled / 255
    return (scaled - 0.55) / 0.16


class Autoencoder(nn.Module):
    """A perceptron with a rectified code."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(SIDE * SIDE, 96), nn.ReLU(), nn.Linear(96, CODE), nn.ReLU()
        )
        self.decoder = nn.Sequential(nn.Linear(CODE, 96), nn.ReLU(), nn.Linear(96, SIDE * SIDE))
        if bug == "negative bias":
            for layer in self.encoder:
                if isinstance(layer, nn.Linear):
                    nn.init.constant_(layer.bias, -5.0)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Map `[batch, 12, 12]` to a reconstruction of the same shape, and the code."""
        code = self.encoder(maps)
        if self.bug == "data":
            code = code.data
        drawn = self.decoder(code)
        if self.bug == "sigmoid":
            drawn = drawn.sigmoid()
        shape = (1, SIDE, SIDE) if self.bug == "channel" else (SIDE, SIDE)
        return drawn.unflatten(1, shape), code


def step(model: nn.Module, maps: Tensor, bug: str) -> dict[str, Tensor]:
    """Cut the middle out of each map and compare what the model draws with the whole map."""
    cut = maps.clone()
    cut[:, 4:8, 4:8] = 0.0
    drawn, code = model(cut)
    error = nn.functional.mse_loss(cut if bug == "wrong tensor" else drawn, maps)
    return {"loss": error + 1e-3 * code.abs().mean(), "output": drawn, "target": maps}


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    maps = prepare(draw_maps(1000), bug)
    return lrtune.Task(
        model=lambda: Autoencoder(bug),
        train=list(maps[:832].split(64)),
        val=list(maps[832:].split(56)),
        step=functools.partial(step, bug=bug),
        optimizer=lambda model, lr, decay: torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="pressure-autoencoder",
    healthy=make_task,
    faults=(
        # Stack Overflow, autoencoder with a sigmoid at the end and standardised data; Holden, "wrong activation".
        fault(
            "a sigmoid ends the decoder of standardised maps",
            "sigmoid",
            "target-out-of-range",
            "cannot-overfit",
        ),
        # Humbatova 2020, "wrong loss function calculation"; 37 reasons "check the loss".
        fault(
            "the error is that of the model's input, not of its drawing",
            "wrong tensor",
            "detached-loss",
            "parameter-without-gradient",
        ),
        # AutoTrainer and DeepDiagnosis, "dying ReLU" by initialisation.
        fault("biases of the rectified layers start at -5", "negative bias", "dead-units"),
        # PyTorch forum, ToTensor and a division by 255; Humbatova 2020, "wrong preprocessing".
        fault("bytes are divided by 255 twice", "twice", "input-not-normalised"),
        # PyTorch forum, ".data and .detach() break the graph".
        fault("the code is taken with .data", "data", "parameter-without-gradient"),
        # Islam 2019, "data/tensor shape"; torch's warning "target size that is different to the input size".
        fault(
            "the drawing has a channel that the maps have not",
            "channel",
            "broadcast-target",
            "target-shape-mismatch",
        ),
    ),
)
