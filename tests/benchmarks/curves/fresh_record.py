"""Record the real curves of the fresh part: data, models and optimizers that the two halves have not.

Run `python tests/benchmarks/curves/fresh_record.py`; it takes a minute or two on one core.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
if str(HERE.parents[1]) not in sys.path:
    sys.path.insert(0, str(HERE.parents[1]))

import sklearn.datasets  # noqa: E402  (after the path is set, as everything below)
import torch  # noqa: E402
from benchmarks.curves.record import Training, recorded  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.curves.record import Pair

_WORDS = 12  # of the made-up language


# --- data ---


def _parted(inputs: Tensor, targets: Tensor, train: int) -> tuple[Pair, Pair]:
    return (inputs[:train], targets[:train]), (inputs[train:], targets[train:])


def _faces(train: int, noise: float = 1.0) -> tuple[Pair, Pair]:
    """Smooth random images of 16 x 16, ten persons, as Olivetti's are: one pattern a person and much noise."""
    draw = torch.Generator().manual_seed(11)
    persons = F.interpolate(torch.randn(10, 1, 4, 4, generator=draw), size=16, mode="bicubic")
    who = torch.randint(0, 10, (train + 300,), generator=draw)
    return _parted(persons[who] + noise * torch.randn(len(who), 1, 16, 16, generator=draw), who, train)


def _friedman(train: int, noise: float = 1.0, mean: bool = True) -> tuple[Pair, Pair]:
    """Friedman's first function of ten columns, of which five count; the targets with their mean or without."""
    rows, values = sklearn.datasets.make_friedman1(train + 300, noise=noise, random_state=4)
    targets = torch.from_numpy(values).float().unsqueeze(1)
    targets = targets if mean else (targets - targets.mean()) / targets.std()
    return _parted(2 * torch.from_numpy(rows).float() - 1, targets, train)


def _wine() -> tuple[Pair, Pair]:
    rows, kinds = map(torch.from_numpy, sklearn.datasets.load_wine(return_X_y=True))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))
    scaled = ((rows - rows.mean(0)) / rows.std(0)).float()
    return _parted(scaled[order], kinds[order], 130)


def _moons(train: int, noise: float = 0.2) -> tuple[Pair, Pair]:
    points, sides = map(
        torch.from_numpy, sklearn.datasets.make_moons(train + 300, noise=noise, random_state=6)
    )
    return _parted(points.float(), sides, train)


def _sums(train: int) -> tuple[Pair, Pair]:
    """The adding problem: sequences of 12 numbers, two of them marked, whose sum is asked for."""
    draw = torch.Generator().manual_seed(7)
    numbers = torch.rand(train + 300, 12, generator=draw)
    marked = torch.zeros_like(numbers)
    marked.scatter_(1, torch.rand(numbers.shape, generator=draw).argsort(1)[:, :2], 1.0)
    return _parted(torch.stack([numbers, marked], 2), (numbers * marked).sum(1, keepdim=True), train)


def _language(train: int) -> tuple[Pair, Pair]:
    """Sentences of 16 words, each word drawn by the one before it; the target is the next word."""
    draw = torch.Generator().manual_seed(8)
    follows = torch.softmax(2.5 * torch.randn(_WORDS, _WORDS, generator=draw), 1)
    words = [torch.randint(0, _WORDS, (train + 200,), generator=draw)]
    for _ in range(16):
        words.append(torch.multinomial(follows[words[-1]], 1, generator=draw).squeeze(1))
    text = torch.stack(words, 1)
    return _parted(text[:, :-1], text[:, 1:], train)


# --- models ---


def _layers(*widths: int, unit: type[nn.Module] = nn.GELU, deviation: float | None = None) -> nn.Module:
    parts: list[nn.Module] = []
    for before, after in pairwise(widths):
        parts += [nn.Linear(before, after), unit()]
    model = nn.Sequential(*parts[:-1])
    if deviation is not None:
        for one in model:
            if isinstance(one, nn.Linear):
                nn.init.normal_(one.weight, std=deviation)
                nn.init.zeros_(one.bias)
    return model


def _net(*widths: int, **keys: Any) -> Callable[[], nn.Module]:
    return partial(_layers, *widths, **keys)


def _eyes(width: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 5, stride=2, padding=2),
        nn.GroupNorm(2, width),
        nn.SiLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(32 * width, 10),
    )


class _Recurrent(nn.Module):
    """A GRU whose last state gives one number."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.cell = nn.GRU(2, width, batch_first=True)
        self.head = nn.Linear(width, 1)

    def forward(self, sequences: Tensor) -> Tensor:
        """Return `[batch, 1]` of `[batch, time, 2]`."""
        return self.head(self.cell(sequences)[0][:, -1])


class _Attentive(nn.Module):
    """One causal block of attention over words and their places."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.words = nn.Embedding(_WORDS, width)
        self.places = nn.Parameter(torch.zeros(16, width))
        self.block = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, _WORDS)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(16))

    def forward(self, text: Tensor) -> Tensor:
        """Return logits `[batch, classes, time]` of words `[batch, time]`."""
        return self.head(self.block(self.words(text) + self.places, src_mask=self.mask)).transpose(1, 2)


# --- trainings ---


def _log_scale(output: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of a normal whose deviation is learnt, which falls below 0."""
    deviation = F.softplus(output[:, 1:]) + 1e-3
    return (0.5 * ((output[:, :1] - target) / deviation) ** 2 + deviation.log()).mean()


def _adamw(lr: float, **keys: Any) -> Callable[[Any], torch.optim.Optimizer]:
    return partial(torch.optim.AdamW, lr=lr, **keys)


def _rmsprop(lr: float, **keys: Any) -> Callable[[Any], torch.optim.Optimizer]:
    return partial(torch.optim.RMSprop, lr=lr, **keys)


def _sgd(lr: float, momentum: float = 0.9, **keys: Any) -> Callable[[Any], torch.optim.Optimizer]:
    return partial(torch.optim.SGD, lr=lr, momentum=momentum, **keys)


def _times(factor: float, *steps: int) -> Callable[[int, Tensor], Tensor]:
    return lambda step, inputs: inputs * factor if step in steps else inputs


def _warmed(lr: float, steps: int) -> Callable[[Any], torch.optim.Optimizer]:
    """AdamW whose rate grows over its first steps."""

    def build(parameters: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(parameters, lr=lr)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=steps)
        optimizer.register_step_post_hook(lambda *_: schedule.step())
        return optimizer

    return build


def _growing(lr: float, factor: float) -> Callable[[Any], torch.optim.Optimizer]:
    """Gradient descent whose rate grows by a factor a step."""

    def build(parameters: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(parameters, lr=lr)
        schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, factor)
        optimizer.register_step_post_hook(lambda *_: schedule.step())
        return optimizer

    return build


def trainings() -> list[Training]:
    """Return what is recorded, healthy first."""
    entropy, square = F.cross_entropy, F.mse_loss
    ok: tuple[str, ...] = ()
    faces, tabular, wine, moons = _faces(1000), _friedman(1200, mean=False), _wine(), _moons(1200)
    alone = lambda data: (data[0], None)  # noqa: E731  (a name for a tuple)
    sums, language = _sums(1500), _language(600)
    one = _net(10, 64, 64, 1)
    return [
        Training(
            "converged", "moons, AdamW", ("converged",), _net(2, 32, 32, 2), moons, entropy, _adamw(1e-2), 20
        ),
        Training(
            "converged",
            "tabular, linear, RMSprop",
            ("converged",),
            _net(10, 1),
            _friedman(1200),
            square,
            _rmsprop(0.05),
            25,
        ),
        Training("healthy", "wine, RMSprop", ok, _net(13, 32, 3), wine, entropy, _rmsprop(3e-3), 12, 16),
        Training(
            "healthy",
            "faces, CNN, AdamW, 3 epochs",
            ok,
            _eyes,
            faces,
            entropy,
            _adamw(1e-3),
            3,
            32,
            grid="coarse-grid",
        ),
        Training("healthy", "faces, CNN, 10 epochs", ok, _eyes, _faces(3000, 0.6), entropy, _sgd(0.01), 10),
        Training("healthy", "tabular, AdamW", ok, one, tabular, square, _adamw(3e-3, weight_decay=0.05), 20),
        Training(
            "healthy",
            "tabular, batches of 4, no validation",
            ok,
            one,
            alone(tabular),
            square,
            _adamw(3e-3),
            12,
            4,
        ),
        Training("healthy", "likelihood below 0", ok, _net(10, 2), tabular, _log_scale, _rmsprop(1e-2), 25),
        Training("healthy", "adding, GRU", ok, _Recurrent, sums, square, _adamw(1e-2), 25, 32),
        Training(
            "healthy", "language, transformer", ok, _Attentive, _language(2000), entropy, _adamw(3e-3), 6, 32
        ),
        Training(
            "healthy",
            "language, transformer, warm-up",
            ok,
            _Attentive,
            _language(2000),
            entropy,
            _warmed(5e-3, 20),
            8,
            32,
        ),
        Training(
            "slow-descent",
            "wine, RMSprop 1e-5",
            ("slow-descent",),
            _net(13, 32, 3),
            wine,
            entropy,
            _rmsprop(1e-5),
            30,
            16,
        ),
        Training("slow-descent", "faces, SGD 1e-4", ("slow-descent",), _eyes, faces, entropy, _sgd(1e-4), 10),
        Training(
            "slow-descent",
            "language, AdamW 1e-5",
            ("slow-descent",),
            _Attentive,
            alone(language),
            entropy,
            _adamw(1e-5),
            10,
            16,
        ),
        Training(
            "still-improving",
            "tabular, AdamW 3e-4",
            ("still-improving",),
            one,
            tabular,
            square,
            _adamw(3e-4),
            9,
        ),
        Training(
            "still-improving",
            "language, AdamW 3e-4",
            ("still-improving",),
            _Attentive,
            language,
            entropy,
            _adamw(3e-4),
            7,
            16,
        ),
        Training(
            "still-improving",
            "wine, SGD, no validation",
            ("still-improving",),
            _net(13, 32, 3),
            alone(wine),
            entropy,
            _sgd(2e-3),
            15,
            16,
        ),
        Training(
            "overfitting", "60 faces", ("overfitting",), _eyes, _faces(60, 5.0), entropy, _adamw(3e-3), 40, 16
        ),
        Training(
            "overfitting",
            "80 noisy rows",
            ("overfitting",),
            _net(10, 128, 128, 1),
            _friedman(80, 4.0, mean=False),
            square,
            _adamw(3e-3),
            60,
            16,
        ),
        Training(
            "overfitting",
            "noisy moons",
            ("overfitting",),
            _net(2, 128, 128, 2),
            _moons(60, 0.5),
            entropy,
            _adamw(1e-2),
            80,
            16,
        ),
        Training(
            "overfitting",
            "60 sentences",
            ("overfitting",),
            _Attentive,
            _language(60),
            entropy,
            _adamw(5e-3),
            30,
            16,
        ),
        Training(
            "underfitting",
            "moons turned to noise, linear",
            ("underfitting",),
            _net(2, 2),
            _moons(1200, 2.0),
            entropy,
            _adamw(2e-2),
            20,
        ),
        Training(
            "underfitting",
            "faces through their mean",
            ("underfitting",),
            lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 10)),
            faces,
            entropy,
            _adamw(0.2),
            40,
        ),
        Training(
            "underfitting",
            "targets mostly noise",
            ("underfitting",),
            _net(10, 3, 1),
            _friedman(1200, 8.0, mean=False),
            square,
            _adamw(3e-3),
            30,
        ),
        Training(
            "plateau-at-start",
            "five tanh layers of tiny weights",
            ("plateau-at-start", "underfitting"),
            _net(13, 32, 32, 32, 32, 3, unit=nn.Tanh, deviation=0.02),
            wine,
            entropy,
            _sgd(0.02),
            30,
            16,
        ),
        Training(
            "plateau-at-start",
            "four tanh layers of small weights",
            ("plateau-at-start",),
            _net(13, 32, 32, 32, 3, unit=nn.Tanh, deviation=0.04),
            wine,
            entropy,
            _adamw(2e-4),
            45,
            16,
        ),
        Training(
            "plateau-at-start",
            "sigmoid layers, moons",
            ("plateau-at-start",),
            _net(2, 32, 32, 32, 32, 2, unit=nn.Sigmoid),
            moons,
            entropy,
            _rmsprop(4e-4),
            25,
            32,
        ),
        Training(
            "loss-rising",
            "the sign is wrong",
            ("loss-rising",),
            _eyes,
            faces,
            entropy,
            _sgd(1e-3, maximize=True),
            6,
        ),
        Training(
            "loss-rising",
            "linear, rate above 2 over the curvature",
            ("loss-rising",),
            _net(10, 1),
            _friedman(1200),
            square,
            _sgd(1.03, 0.0),
            8,
            300,
        ),
        Training(
            "loss-rising",
            "a rate that grows",
            ("loss-rising",),
            _net(10, 1),
            _friedman(1200),
            square,
            _growing(0.01, 1.02),
            13,
        ),
        Training(
            "oscillating",
            "momentum 0.98, full batch",
            ("oscillating",),
            _net(10, 1),
            _friedman(500),
            square,
            _sgd(0.05, 0.98),
            150,
            500,
        ),
        Training(
            "oscillating",
            "momentum 0.99, batches of 100",
            ("oscillating",),
            _net(10, 1),
            _friedman(1200),
            square,
            _sgd(0.01, 0.99),
            35,
            100,
        ),
        Training(
            "loss-spike",
            "a batch times 30",
            ("loss-spike",),
            one,
            tabular,
            square,
            _adamw(2e-3),
            15,
            spoil=_times(30.0, 160),
        ),
        Training(
            "loss-spike",
            "two batches times -12, wine",
            ("loss-spike",),
            _net(13, 32, 3),
            wine,
            entropy,
            _rmsprop(2e-3),
            30,
            16,
            spoil=_times(-12.0, 120, 200),
        ),
        Training(
            "loss-spike",
            "a batch times -25, no validation",
            ("loss-spike",),
            _eyes,
            alone(faces),
            entropy,
            _adamw(1e-3),
            10,
            32,
            spoil=_times(-25.0, 200),
        ),
    ]


def main() -> None:
    """Record them all."""
    torch.set_num_threads(1)
    lines = []
    for training in trainings():
        lines.append(json.dumps(recorded(training), separators=(",", ":")))
        print(training.kind, training.name, flush=True)
    (HERE / "recorded" / "fresh.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
