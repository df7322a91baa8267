"""Digits squeezed through sixteen numbers: an autoencoder with an activation of its own, batches of one tensor."""

from __future__ import annotations

from functools import partial
from typing import Any

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune


class Swish(torch.autograd.Function):
    """x sigmoid(x), which keeps only its input for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the activation."""
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return the gradient of the input."""
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return grad * (gate + x * gate * (1 - gate))


class HalfSwish(Swish):
    """The same with the product rule forgotten."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return the second term of the derivative alone."""
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return grad * x * gate * (1 - gate)


class AutoEncoder(nn.Module):
    """Two layers down, two layers up; `bug` names the line that is wrong."""

    def __init__(self, code: int = 16, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        self.activation = HalfSwish if bug == "derivative" else Swish
        self.down1, self.down2 = nn.Linear(64, 64), nn.Linear(64, code)
        self.up1, self.up2 = nn.Linear(code, 64), nn.Linear(64, 64)
        for layer in (self.down1, self.down2, self.up1, self.up2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        if bug == "wide code":
            nn.init.normal_(self.down1.weight, std=2.0)
            nn.init.normal_(self.down2.weight, std=2.0)

    def forward(self, images: Tensor) -> Tensor:
        """Return reconstructions of images `[batch, 64]`."""
        code = torch.tanh(self.down2(self.activation.apply(self.down1(images))))
        if self.bug == "detached":
            code = code.detach()
        output = self.up2(self.activation.apply(self.up1(code)))
        if self.bug == "sigmoid":
            output = torch.sigmoid(output)
        if self.bug == "residual":
            output = images + output
        return output


def load_digits(by_column: bool = False) -> TensorDataset:
    """Read the digits as a dataset of one tensor."""
    images = torch.from_numpy(sklearn.datasets.load_digits().data).float()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(71))[:1536]
    images = images[order]
    images = (
        (images - images.mean(dim=0)) / images.std(dim=0)
        if by_column
        else (images - images.mean()) / images.std()
    )
    return TensorDataset(images)


def reconstruct(model: nn.Module, batch: list[Tensor], per_image: bool = False) -> dict[str, Tensor]:
    """Score the reconstructions of a batch."""
    (images,) = batch
    output = model(images)
    loss = nn.functional.mse_loss(output, images)
    return {"loss": loss / len(images) if per_image else loss, "output": output, "target": images}


def make_task(bug: str = "", by_column: bool = False, per_image: bool = False) -> lrtune.Task:
    """Describe the training."""
    return lrtune.Task(
        model=lambda: AutoEncoder(bug=bug),
        train=DataLoader(
            load_digits(by_column),
            batch_size=64,
            shuffle=True,
            generator=torch.Generator().manual_seed(72),
        ),
        step=partial(reconstruct, per_image=per_image),
    )


CASE = Case(
    name="digit autoencoder",
    healthy=make_task,
    faults=(
        Fault("wrong derivative of the activation", ("wrong-gradient",), lambda: make_task("derivative")),
        Fault(
            "sigmoid output for standardised images",
            ("target-out-of-range", "cannot-overfit"),
            lambda: make_task("sigmoid"),
        ),
        Fault("code detached", ("parameter-without-gradient",), lambda: make_task("detached")),
        Fault(
            "input added to the output", ("target-leak", "initial-loss-low"), lambda: make_task("residual")
        ),
        Fault("mean divided by the batch", ("loss-not-mean",), lambda: make_task(per_image=True)),
        Fault("wide init before tanh", ("saturated-units",), lambda: make_task("wide code")),
        Fault("border pixels divided by 0", ("nonfinite-input",), lambda: make_task(by_column=True)),
    ),
    config={"optimizer": {"name": "adam"}},
)
