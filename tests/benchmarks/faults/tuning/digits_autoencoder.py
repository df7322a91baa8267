"""A denoising autoencoder on digits; its step returns nothing but the loss."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune


class Digits(Dataset[Tensor]):
    """Digits as 64 standardised pixels, without labels."""

    def __init__(self, first: int, last: int) -> None:
        pixels = torch.from_numpy(sklearn.datasets.load_digits().data)
        pixels = pixels[torch.randperm(len(pixels), generator=torch.Generator().manual_seed(5))]
        self.images = ((pixels - pixels.mean()) / pixels.std()).float()[first:last]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index]


class Autoencoder(nn.Module):
    """An encoder to 32 numbers and a decoder; in training, a tenth of the pixels is hidden.

    Args:
        sparse_bias: Of the units of the code.
        sampling: Decodes a random code, as for generating.
        sigmoid: Squeezes the output into 0..1.
        listed: Keeps the encoder's layers in a plain list.
    """

    def __init__(
        self,
        sparse_bias: float = 0.0,
        sampling: bool = False,
        sigmoid: bool = False,
        listed: bool = False,
    ) -> None:
        super().__init__()
        self.sampling = sampling
        encoder = [nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32), nn.ReLU()]
        nn.init.constant_(encoder[2].bias, sparse_bias)
        self.encoder = encoder if listed else nn.ModuleList(encoder)
        self.decoder = nn.Sequential(nn.Linear(32, 96), nn.ReLU(), nn.Linear(96, 64))
        if sigmoid:
            self.decoder.append(nn.Sigmoid())

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 64]` to their reconstructions."""
        code = images
        if self.training:
            code = code * (torch.rand_like(images) > 0.1)
        for layer in self.encoder:
            code = layer(code)
        if self.sampling:
            code = torch.randn_like(code)
        return self.decoder(code)


def reconstruct(model: nn.Module, images: Tensor, reduction: str = "mean", detached: bool = False) -> Tensor:
    """Return the squared error of the reconstruction.

    Args:
        model: The autoencoder.
        images: The batch.
        reduction: Of the loss.
        detached: Keeps the reconstruction for a plot and takes the loss from that copy.
    """
    reconstruction = model(images)
    if detached:
        reconstruction = reconstruction.detach().clone().requires_grad_()
    return nn.functional.mse_loss(reconstruction, images, reduction=reduction)


def make_decoder_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Build an Adam for the decoder alone."""
    return torch.optim.Adam(model.decoder.parameters(), lr=learning_rate, weight_decay=weight_decay)


def make_task(
    reduction: str = "mean", detached: bool = False, decoder_only: bool = False, **network: bool | float
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: Autoencoder(**network),
        train=Digits(0, 1400),
        val=Digits(1400, 1797),
        step=functools.partial(reconstruct, reduction=reduction, detached=detached),
        optimizer=make_decoder_optimizer if decoder_only else None,
    )


CASE = Case(
    name="digits-autoencoder",
    healthy=make_task,
    faults=(
        Fault(
            "the loss is a sum over pixels and batch",
            ("loss-not-mean",),
            functools.partial(make_task, reduction="sum"),
        ),
        Fault(
            "the loss of a detached copy",
            ("detached-loss",),
            functools.partial(make_task, detached=True),
        ),
        Fault(
            "the optimizer trains the decoder alone",
            ("parameter-not-in-optimizer",),
            functools.partial(make_task, decoder_only=True),
        ),
        Fault(
            "the code's bias starts at -10 for sparsity",
            ("dead-units",),
            functools.partial(make_task, sparse_bias=-10.0),
        ),
        Fault(
            "decodes a random code",
            ("input-ignored", "nondeterministic-model", "parameter-without-gradient"),
            functools.partial(make_task, sampling=True),
        ),
        Fault(
            "a sigmoid output for standardised pixels",
            ("cannot-overfit",),
            functools.partial(make_task, sigmoid=True),
        ),
        Fault(
            "encoder in a plain list",
            ("unregistered-parameter",),
            functools.partial(make_task, listed=True),
        ),
    ),
    config={"optimizer": {"name": "adam"}},
)
