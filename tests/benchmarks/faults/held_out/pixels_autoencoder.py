"""An autoencoder of digits with a bottleneck of sixteen; batches are one tensor, the target is the input."""

from __future__ import annotations

from functools import partial

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional

import lrtune


class _AutoEncoder(nn.Module):
    def __init__(
        self,
        rectify_output: bool = False,
        frozen: bool = False,
        code_activation: bool = False,
        std: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 16))
        self.decoder = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 64))
        if rectify_output:
            self.decoder.append(nn.ReLU())
        if code_activation:
            self.encoder.append(nn.Sigmoid())
        if std:
            for module in self.encoder.modules():
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=std)
        if frozen:
            self.eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def _reconstruct(model: nn.Module, batch: Tensor, how: str = "mean") -> dict[str, Tensor]:
    if how == "no grad":
        with torch.no_grad():
            output = model(batch)
    else:
        output = model(batch)
    if how == "sum":
        loss = functional.mse_loss(output, batch, reduction="sum")
    elif how == "per example":
        loss = functional.mse_loss(output, batch, reduction="none").mean(dim=1)
    else:
        loss = functional.mse_loss(output, batch)
    return {"loss": loss, "output": output, "target": batch}


def _reconstruct_raw(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    scaled, pixels = batch
    output = model(scaled)
    return {"loss": functional.mse_loss(output, pixels), "output": output, "target": pixels}


def _task(how: str = "mean", raw_target: bool = False, **network: bool | float) -> lrtune.Task:
    pixels = torch.tensor(sklearn.datasets.load_digits().data, dtype=torch.float32)
    x = (pixels - pixels.mean()) / pixels.std()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(8))
    train, val = order[:1024], order[1024:1280]
    if raw_target:
        # Eight bits a pixel, as the images are stored.
        pairs = [(x[rows], pixels[rows] * 255 / 16) for rows in train.split(64)]
        return lrtune.Task(
            model=lambda: _AutoEncoder(**network),
            train=pairs,
            val=[(x[val], pixels[val] * 255 / 16)],
            step=_reconstruct_raw,
        )
    return lrtune.Task(
        model=lambda: _AutoEncoder(**network),
        train=list(x[train].split(64)),
        val=list(x[val].split(128)),
        step=partial(_reconstruct, how=how),
    )


CASE = Case(
    name="pixels-autoencoder",
    healthy=_task,
    faults=(
        Fault("squared errors summed over the batch", ("loss-not-mean",), partial(_task, how="sum")),
        Fault("one loss an example", ("loss-not-scalar",), partial(_task, how="per example")),
        Fault("the training step runs under no_grad", ("detached-loss",), partial(_task, how="no grad")),
        Fault(
            "pixels of 0 to 255 as the target", ("target-not-normalised",), partial(_task, raw_target=True)
        ),
        Fault(
            "ReLU on the output; half of the target is negative",
            ("cannot-overfit",),
            partial(_task, rectify_output=True),
        ),
        Fault(
            "a sigmoid code behind weights drawn from N(0, 1)",
            ("saturated-units",),
            partial(_task, code_activation=True, std=1.0),
        ),
        Fault("frozen for an evaluation and never thawed", ("frozen-model",), partial(_task, frozen=True)),
    ),
    config={"optimizer": {"name": "adam"}},
)
