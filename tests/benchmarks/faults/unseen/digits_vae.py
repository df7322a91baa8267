"""A variational autoencoder of digits: pixels under a Bernoulli likelihood, and the divergence in closed form."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.distributions import Normal
from torch.utils.data import DataLoader

import lrtune

LATENT = 8


class VAE(nn.Module):
    """Encodes an image as a normal distribution and decodes a draw from it.

    Args:
        split_batch: Splits mean and log-variance along the batch.
        detached_draw: Draws without the reparameterisation.
        probabilities: Whether the decoder ends with a sigmoid.
    """

    def __init__(
        self, split_batch: bool = False, detached_draw: bool = False, probabilities: bool = False
    ) -> None:
        super().__init__()
        self.split_batch, self.detached_draw = split_batch, detached_draw
        self.encoder = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2 * LATENT)
        )
        last = [nn.Sigmoid()] if probabilities else []
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, 64), nn.ReLU(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), *last
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images `[batch, 64]` to means and log-variances `[batch, LATENT]`."""
        code = self.encoder(images)
        if self.split_batch:
            mean, log_variance = code.view(2, -1, LATENT)
        else:
            mean, log_variance = code.view(-1, 2, LATENT).unbind(dim=1)
        return mean, log_variance

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the decoded images `[batch, 64]`, and what they were drawn from."""
        mean, log_variance = self.encode(images)
        drawn = mean
        if self.training:
            normal = Normal(mean, torch.exp(0.5 * log_variance))
            drawn = normal.sample() if self.detached_draw else normal.rsample()
        return self.decoder(drawn), mean, log_variance


class NegativeElbo:
    """The loss of one training step.

    Args:
        sign: Of the divergence.
        per_image: Whether sums are divided by the number of images.
    """

    def __init__(self, sign: float = 1.0, per_image: bool = True) -> None:
        self.sign, self.per_image = sign, per_image

    def __call__(self, model: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """Return the loss, and the decoded images beside the true ones."""
        logits, mean, log_variance = model(images)
        likelihood = nn.functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
        divergence = -0.5 * torch.sum(1 + log_variance - mean.pow(2) - log_variance.exp())
        loss = likelihood + self.sign * divergence
        return {"loss": loss / len(images) if self.per_image else loss, "output": logits, "target": images}


def make_model(frozen: bool, **vae: bool) -> VAE:
    """Build the autoencoder, as it is trained or as the demo generates from it."""
    model = VAE(**vae)
    if frozen:
        model.requires_grad_(False)
    return model


def make_task(
    scale: float = 1 / 16, sign: float = 1.0, per_image: bool = True, frozen: bool = False, **vae: bool
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        scale: By which the pixels 0 to 16 are multiplied.
        sign: Argument of `NegativeElbo`.
        per_image: Argument of `NegativeElbo`.
        frozen: Argument of `make_model`.
        vae: Arguments of `VAE`.
    """
    pixels = torch.from_numpy(sklearn.datasets.load_digits().data).float() * scale
    generator = torch.Generator().manual_seed(5)
    return lrtune.Task(
        model=lambda: make_model(frozen, **vae),
        train=DataLoader(pixels, batch_size=64, shuffle=True, drop_last=True, generator=generator),
        step=NegativeElbo(sign, per_image),
    )


CASE = Case(
    name="digits-vae",
    healthy=make_task,
    faults=(
        Fault(
            "pixels 0 to 16 under a Bernoulli likelihood",
            ("target-out-of-range", "input-not-normalised"),
            functools.partial(make_task, scale=1.0),
        ),
        Fault(
            "mean and variance split along the batch",
            ("batch-mixing",),
            functools.partial(make_task, split_batch=True),
        ),
        Fault(
            "sample() instead of rsample()",
            ("parameter-without-gradient", "input-ignored"),
            functools.partial(make_task, detached_draw=True),
        ),
        Fault(
            "frozen as in the demo that generates",
            ("frozen-model",),
            functools.partial(make_task, frozen=True),
        ),
        Fault(
            "divergence with the wrong sign",
            ("loss-explodes", "nonfinite-loss"),
            functools.partial(make_task, sign=-1.0),
        ),
        Fault(
            "a sigmoid before the loss of logits",
            ("double-softmax",),
            functools.partial(make_task, probabilities=True),
        ),
        Fault(
            "sum over the batch",
            ("loss-not-mean",),
            functools.partial(make_task, per_image=False),
        ),
    ),
    config={"optimizer": {"name": "adam"}},
)
