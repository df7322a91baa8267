from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import codes, context_of, generator, mlp
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.checks.loss import log_targets_out_of_range
from lrtune.probes.losses.log_targets import LogTargets
from lrtune.steps.check_init import check_init
from lrtune.steps.overfit import overfit

if TYPE_CHECKING:
    from collections.abc import Callable

PATTERNS = (torch.randn(4, 12, generator=generator(5)) * 2).sigmoid()
PIXELS = (PATTERNS[torch.arange(160) % 4] + 0.1 * torch.randn(160, 12, generator=generator(6))).clamp(0, 1)
WORDS = torch.randint(3, 20, (160, 8), generator=generator(7))


class VAE(nn.Module):
    """A mean in evaluation mode, a draw in training.

    Args:
        sample: Draws without a gradient.
    """

    def __init__(self, sample: bool = False) -> None:
        super().__init__()
        self.sample = sample
        self.encoder, self.decoder = mlp(12, 8, 32), mlp(4, 12, 32)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the decoded pixels and the divergence of each image."""
        mean, log_variance = self.encoder(pixels).chunk(2, 1)
        normal = Normal(mean, (0.5 * log_variance).exp())
        code = mean
        if self.training:
            code = normal.sample() if self.sample else normal.rsample()
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)
        return self.decoder(code), divergence


def elbo(model: nn.Module, pixels: Tensor, loss: Any = F.binary_cross_entropy_with_logits, weight: float = 1.0,
         told: bool = True) -> Any:  # fmt: skip
    """Sums over the pixels, means over the images."""
    output, divergence = model(pixels)
    total = loss(output, pixels, reduction="sum") / len(pixels) + weight * divergence.mean()
    return {"loss": total, "output": output, "target": pixels} if told else total


class Noisy(nn.Module):
    """An autoencoder whose code is blurred in training."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = mlp(12, 6, 32), mlp(6, 12, 32)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the decoded pixels."""
        code = self.encoder(pixels)
        return self.decoder(code + 0.3 * torch.randn_like(code) if self.training else code)


def sparse(model: nn.Module, pixels: Tensor) -> Tensor:
    """Decode blurred codes, with soft pixels as answers."""
    return F.binary_cross_entropy_with_logits(model(pixels), pixels) + 1e-3 * model(pixels).abs().mean()


def mixup(model: nn.Module, pixels: Tensor) -> Tensor:
    """Two examples and their classes mixed, in training only."""
    labels = F.one_hot((pixels @ PATTERNS.T).argmax(1), 4).float()
    if model.training:
        share, order = torch.rand(len(pixels), 1), torch.randperm(len(pixels))
        pixels = share * pixels + (1 - share) * pixels[order]
        labels = share * labels + (1 - share) * labels[order]
    return -(labels * model(pixels).log_softmax(1)).sum(1).mean()


def masked_words(model: nn.Module, words: Tensor) -> Tensor:
    """A fifth of the words is hidden, another one at each call."""
    hidden = torch.rand(words.shape) < 0.2
    hidden[:, 0] = True
    return F.cross_entropy(model(words.masked_fill(hidden, 1))[hidden], words[hidden])


def views(model: nn.Module, pixels: Tensor) -> Tensor:
    """Reconstruct from what noise and erased pixels leave."""
    seen = (pixels + 0.2 * torch.randn_like(pixels)) * (torch.rand_like(pixels) < 0.8)
    return F.l1_loss(model(seen), pixels) + 0.1


def negatives(model: nn.Module, words: Tensor) -> Tensor:
    """Neighbours against words drawn at random."""
    centre, other = model(words[:, :1]), model(words[:, 1:2])
    drawn = model(torch.randint(3, 20, (len(words), 5)))
    return -(F.logsigmoid((centre * other).sum(-1)).mean() + F.logsigmoid(-(centre * drawn).sum(-1)).mean())


class Filler(nn.Module):
    """Scores of the words at all places."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.net = nn.Embedding(20, 16), nn.GRU(16, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 20)

    def forward(self, words: Tensor) -> Tensor:
        """Return `[batch, time, 20]`."""
        return self.head(self.net(self.embed(words))[0])


HEALTHY: dict[str, tuple[Callable[[], nn.Module], Tensor, Any]] = {
    "bernoulli": (VAE, PIXELS, elbo),
    "bernoulli, loss only": (VAE, PIXELS, functools.partial(elbo, told=False)),
    "gaussian": (VAE, 3 * PIXELS, functools.partial(elbo, loss=F.mse_loss)),
    "light divergence": (VAE, PIXELS, functools.partial(elbo, weight=0.1)),
    "heavy divergence": (VAE, PIXELS, functools.partial(elbo, weight=4.0)),
    "noise in the code": (Noisy, PIXELS, sparse),
    "mixup": (lambda: mlp(12, 4, 32), PIXELS, mixup),
    "masked words": (Filler, WORDS, masked_words),
    "views": (lambda: mlp(12, 12, 64), PIXELS, views),
    "negative sampling": (lambda: nn.Embedding(20, 16), WORDS, negatives),
}


def task_of(make: Callable[[], nn.Module], data: Any, step: Any) -> lrtune.Task:
    """A task over a tensor of examples."""
    batches = list(torch.as_tensor(data).split(32))
    return lrtune.Task(model=make, train=batches, step=step)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("make", "data", "step"), HEALTHY.values(), ids=HEALTHY)
def test_objectives_that_draw_are_not_blamed(
    make: Callable[[], nn.Module], data: Tensor, step: Any, seed: int
) -> None:
    """No floor is known of what is drawn anew in training; that the loss falls is all that can be asked."""
    config = {"optimizer": {"name": "adam"}, "overfit": {"batches": 3, "steps": 150}}
    result = overfit(context_of(task_of(make, data, step), seed=seed, **config))
    assert [one.code for one in result.findings if one.severity == "error"] == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("told", [True, False])
def test_draws_without_a_gradient(told: bool, seed: int) -> None:
    """Behind sample() the encoder hears of the divergence alone."""
    task = task_of(functools.partial(VAE, sample=True), PIXELS, functools.partial(elbo, told=told))
    assert "parameter-without-gradient" in codes(check_init(context_of(task, seed=seed)))
    sound = task_of(VAE, PIXELS, functools.partial(elbo, told=told))
    assert "parameter-without-gradient" not in codes(check_init(context_of(sound, seed=seed)))


class Policy(nn.Module):
    """A net whose normal distribution acts."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(12, 2, 16)


def reward(model: nn.Module, states: Tensor) -> Tensor:
    """Raise the likelihood of draws by what they earned (Williams, 1992)."""
    normal = Normal(model.net(states), 0.5)
    action = normal.sample()
    return -(normal.log_prob(action).sum(1) * (action[:, 0] - states[:, 0])).mean()


@pytest.mark.parametrize("seed", range(3))
def test_a_gradient_by_the_likelihood_of_the_draw(seed: int) -> None:
    """It comes another way, and changes with what was drawn."""
    assert "parameter-without-gradient" not in codes(
        check_init(context_of(task_of(Policy, PIXELS, reward), seed=seed))
    )


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [(0, 1, False), (0.0, 1.2, False), (-1, 1, True), (0, 2, True), (-0.4, 2.8, True)],
)
def test_the_range_of_answers(low: float, high: float, told: bool) -> None:
    """Noisy answers of a discriminator go a little beyond 0 to 1."""
    assert (log_targets_out_of_range(LogTargets(low, high, 5, 10)) is not None) == told


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("scale", [16.0, 1.0])
def test_pixels_under_a_bernoulli_likelihood(scale: float, told: bool) -> None:
    """Pixels of 0 to 16 are no answers of yes and no, whatever the step says of its output."""
    found = codes(check_init(context_of(task_of(VAE, scale * PIXELS, functools.partial(elbo, told=told)))))
    assert ("target-out-of-range" in found) == (scale > 1)


@pytest.mark.parametrize("squashed", [True, False])
def test_a_sigmoid_before_a_log_sigmoid(squashed: bool) -> None:
    """A log loss written out shows in the graph, also where the step tells no output."""

    def step(model: nn.Module, pixels: Tensor) -> Tensor:
        label, score = (pixels[:, 0] > 0.5).float(), model(pixels).squeeze(1)
        score = score.sigmoid() if squashed else score
        return -(label * F.logsigmoid(score) + (1 - label) * F.logsigmoid(-score)).mean()

    found = codes(check_init(context_of(task_of(lambda: mlp(12, 1, 32), PIXELS, step))))
    assert ("double-softmax" in found) == squashed
