"""Record the real curves of the benchmark: small trainings whose kind was set up, kept in `recorded/`.

Run `python tests/benchmarks/curves/record.py tuning` (or `held_out`); it takes a minute or two on one core. The
files that are committed are what the figures were measured on; another machine's last digits may differ.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
for folder in (HERE.parents[1], ROOT / "examples"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

import sklearn.datasets  # noqa: E402  (after the path is set, as everything below)
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402, N812

if TYPE_CHECKING:
    from collections.abc import Callable

_SUBSET = 512  # examples of the training set that are evaluated after every epoch
_DIGITS = 5  # significant ones that are kept

Pair = tuple[Tensor, Tensor]


@dataclass
class Training:
    """One training to record.

    Attributes:
        kind: What it is to show.
        name: Of the recording.
        wanted: Codes of which any is right.
        model: Builds the model, under the seed.
        data: Training pairs and validation pairs, or None for the latter.
        loss: Of output and target.
        optimizer: Of the parameters.
        epochs: Passes over the training set.
        batch_size: Of the shuffled batches.
        spoil: Changes a batch, told its step.
        seed: Of weights and order.
        grid: The step whose answer it is.
    """

    kind: str
    name: str
    wanted: tuple[str, ...]
    model: Callable[[], nn.Module]
    data: tuple[Pair, Pair | None]
    loss: Callable[[Tensor, Tensor], Tensor]
    optimizer: Callable[[Any], torch.optim.Optimizer]
    epochs: int = 15
    batch_size: int = 64
    spoil: Callable[[int, Tensor], Tensor] | None = None
    seed: int = 0
    grid: str = "refine-grid"


def recorded(training: Training) -> dict[str, Any]:
    """Train, and return what the file keeps."""
    torch.manual_seed(training.seed)
    model = training.model()
    optimizer = training.optimizer(model.parameters())
    (inputs, targets), val = training.data
    losses: list[float] = []
    rows = [_measured(training, model, 0, 0)]
    for epoch in range(1, training.epochs + 1):
        for batch in torch.randperm(len(inputs)).split(training.batch_size):
            given = inputs[batch] if training.spoil is None else training.spoil(len(losses), inputs[batch])
            loss = training.loss(model(given), targets[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(_short(loss.item()))
        rows.append(_measured(training, model, epoch, len(losses)))
    return {
        "kind": training.kind,
        "name": training.name,
        "wanted": list(training.wanted),
        "grid": training.grid,
        "loss": losses,
        "train_loss": [row["train_loss"] for row in rows],
        "val_loss": [row["val_loss"] for row in rows] if val is not None else None,
    }


@torch.no_grad()
def _measured(training: Training, model: nn.Module, epoch: int, step: int) -> dict[str, Any]:
    model.eval()
    (inputs, targets), val = training.data
    row: dict[str, Any] = {"epoch": epoch, "step": step}
    row["train_loss"] = _short(float(training.loss(model(inputs[:_SUBSET]), targets[:_SUBSET])))
    if val is not None:
        row["val_loss"] = _short(float(training.loss(model(val[0]), val[1])))
    model.train()
    return row


def _short(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


# --- data and models ----------------------------------------------------------------------------------------------


def _split(inputs: Tensor, targets: Tensor, val: int, seed: int = 0) -> tuple[Pair, Pair]:
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    held, kept = order[:val], order[val:]
    spread = inputs[kept].std(0)
    # A pixel that is dark but for one image would stand for everything in the images held out.
    inputs = (inputs - inputs[kept].mean(0)) / spread.clamp(min=float(spread.median()) / 4)
    return (inputs[kept].float(), targets[kept]), (inputs[held].float(), targets[held])


def _digits(train: int | None = None, images: bool = False) -> tuple[Pair, Pair]:
    pixels, classes = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    if images:
        pixels = ((pixels - 4.9) / 6.0).unflatten(1, (1, 8, 8))
        order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(5))
        held, kept = order[:360], order[360:]
        both = (pixels[kept].float(), classes[kept]), (pixels[held].float(), classes[held])
    else:
        both = _split(pixels, classes, 360)
    return (both[0][0][:train], both[0][1][:train]), both[1]


def _diabetes() -> tuple[Pair, Pair]:
    inputs, targets = map(torch.from_numpy, sklearn.datasets.load_diabetes(return_X_y=True))
    targets = ((targets - targets.mean()) / targets.std()).float().unsqueeze(1)
    return _split(inputs, targets, 90)


def _table(load: Any, val: int) -> tuple[Pair, Pair]:
    inputs, targets = map(torch.from_numpy, load(return_X_y=True))
    return _split(inputs, targets, val)


def _random_labels(data: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
    (inputs, targets), val = data
    drawn = torch.randint(
        0, int(targets.max()) + 1, targets.shape, generator=torch.Generator().manual_seed(3)
    )
    return (inputs, drawn), val


def _mlp(
    *sizes: int, activation: type[nn.Module] = nn.ReLU, gain: float | None = None
) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            linear = nn.Linear(before, after)
            if gain is not None:
                nn.init.normal_(linear.weight, std=gain / before**0.5)
                nn.init.zeros_(linear.bias)
            layers += [linear, activation()]
        return nn.Sequential(*layers[:-1])

    return build


def _cnn(
    channels: int = 8, norm: bool = True, activation: type[nn.Module] = nn.ReLU
) -> Callable[[], nn.Module]:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            *([nn.BatchNorm2d(outputs)] if norm else []),
            activation(),
        ]

    def build() -> nn.Module:
        return nn.Sequential(
            *block(1, channels),
            nn.MaxPool2d(2),
            *block(channels, 2 * channels),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(8 * channels, 10),
        )

    return build


def _sgd(lr: float, momentum: float = 0.9, **keys: Any) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.SGD(parameters, lr, momentum, **keys)


def _one_hot(data: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
    (inputs, targets), (val_inputs, val_targets) = data
    return (inputs, F.one_hot(targets).float()), (val_inputs, F.one_hot(val_targets).float())


def _adam(lr: float) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda parameters: torch.optim.Adam(parameters, lr)


def _outlier(*steps: int, factor: float) -> Callable[[int, Tensor], Tensor]:
    return lambda step, inputs: inputs * factor if step in steps else inputs


def _next_tokens(output: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(output.flatten(0, 1), target.flatten())


def _sentences(count: int, held: int = 80) -> tuple[Pair, Pair]:
    from char_transformer import Windows, make_texts

    pairs = []
    for text, most in ((make_texts(count)[0], None), (make_texts(800)[1], held)):
        windows = Windows(text, 32).windows[:most]
        pairs.append((windows[:, :-1].contiguous(), windows[:, 1:].contiguous()))
    return pairs[0], pairs[1]


def _transformer(width: int = 32, layers: int = 1) -> Callable[[], nn.Module]:
    from char_transformer import Transformer

    return lambda: Transformer(32, width, layers)


# --- the trainings ------------------------------------------------------------------------------------------------


def tuning() -> list[Training]:
    """Perceptrons on digits and diabetes."""
    digits, cross = _digits(), F.cross_entropy
    usual = _mlp(64, 128, 10)
    few = _digits(30)
    over, going, slow, rising = ("overfitting",), ("still-improving",), ("slow-descent",), ("loss-rising",)
    return [
        Training("converged", "digits MLP, SGD 0.05", ("converged",), usual, digits, cross, _sgd(0.05)),
        Training("converged", "digits MLP, Adam 3e-3", ("converged",), usual, digits, cross, _adam(3e-3)),
        Training("healthy", "digits MLP, batches of 8", (), usual, digits, cross, _sgd(0.01), 4, 8),
        Training("healthy", "digits MLP, no validation", (), usual, (digits[0], None), cross, _sgd(0.05)),
        Training(
            "healthy", "digits MLP, 3 epochs", (), usual, digits, cross, _sgd(0.05), 3, grid="coarse-grid"
        ),
        Training(
            "healthy",
            "digits MLP, 20 validation examples",
            (),
            usual,
            (digits[0], (digits[1][0][:20], digits[1][1][:20])),
            cross,
            _sgd(0.05),
        ),
        Training(
            "healthy",
            "diabetes MLP, 15 epochs",
            (),
            _mlp(10, 32, 1),
            _diabetes(),
            F.mse_loss,
            _sgd(0.01),
            15,
            32,
        ),
        Training("slow-descent", "digits MLP, SGD 5e-5", slow, usual, digits, cross, _sgd(5e-5)),
        Training("slow-descent", "digits MLP, Adam 5e-6", slow, usual, digits, cross, _adam(5e-6)),
        Training("still-improving", "digits MLP, SGD 1e-3", going, usual, digits, cross, _sgd(1e-3)),
        Training("still-improving", "digits MLP, Adam 1e-4", going, usual, digits, cross, _adam(1e-4)),
        Training("overfitting", "30 digits", over, usual, few, cross, _sgd(0.05), 60, 10),
        Training(
            "overfitting",
            "300 digits with random labels",
            over,
            usual,
            _random_labels(_digits(300)),
            cross,
            _adam(1e-2),
            30,
            32,
        ),
        Training(
            "overfitting",
            "diabetes MLP, 100 epochs",
            over,
            _mlp(10, 128, 128, 1),
            _diabetes(),
            F.mse_loss,
            _sgd(0.02),
            100,
            64,
        ),
        Training(
            "underfitting",
            "digits through one unit",
            ("underfitting",),
            _mlp(64, 1, 10),
            digits,
            cross,
            _sgd(0.05),
            30,
        ),
        Training(
            "underfitting",
            "random labels, linear",
            ("underfitting", *over),
            _mlp(64, 10),
            _random_labels(digits),
            cross,
            _sgd(0.02),
            20,
        ),
        Training(
            "plateau-at-start",
            "four tanh layers of tiny weights",
            ("plateau-at-start",),
            _mlp(64, 32, 32, 32, 10, activation=nn.Tanh, gain=0.2),
            digits,
            cross,
            _sgd(0.02),
            15,
        ),
        Training(
            "plateau-at-start",
            "four sigmoid layers",
            ("plateau-at-start",),
            _mlp(64, 32, 32, 32, 10, activation=nn.Sigmoid),
            digits,
            cross,
            _adam(1e-3),
            30,
        ),
        Training(
            "loss-rising",
            "ascent instead of descent",
            rising,
            usual,
            digits,
            cross,
            lambda parameters: torch.optim.SGD(parameters, 1e-3, maximize=True),
            8,
        ),
        Training(
            "loss-rising",
            "Adam, rate 1",
            ("loss-rising", "oscillating"),
            usual,
            digits,
            cross,
            _adam(1.0),
            10,
        ),
        Training(
            "oscillating",
            "diabetes, linear, full batch, momentum 0.99",
            ("oscillating",),
            _mlp(10, 1, gain=2.0),
            _diabetes(),
            F.mse_loss,
            _sgd(0.02, momentum=0.99),
            150,
            2000,
        ),
        Training(
            "oscillating",
            "momentum 0.99",
            ("oscillating",),
            _mlp(10, 32, 1),
            _diabetes(),
            F.mse_loss,
            _sgd(0.03, momentum=0.995),
            30,
            64,
        ),
        Training(
            "loss-spike",
            "a batch times -20",
            ("loss-spike",),
            usual,
            digits,
            cross,
            _sgd(0.02),
            15,
            64,
            _outlier(220, factor=-20.0),
        ),
        Training(
            "loss-spike",
            "two batches times -15",
            ("loss-spike",),
            usual,
            digits,
            cross,
            _adam(1e-3),
            15,
            64,
            _outlier(150, 280, factor=-15.0),
        ),
    ]


def held_out() -> list[Training]:
    """A CNN, tables, a language model, an autoencoder."""
    images, cross = _digits(images=True), F.cross_entropy
    cancer, wine = _table(sklearn.datasets.load_breast_cancer, 120), _table(sklearn.datasets.load_wine, 50)
    text = _sentences(150)
    flat = _digits()
    same = (flat[0][0], flat[0][0]), (flat[1][0], flat[1][0])
    over, going, slow = ("overfitting",), ("still-improving",), ("slow-descent",)
    either = ("still-improving", "slow-descent")
    return [
        Training("converged", "digits CNN, SGD 0.05", ("converged",), _cnn(), images, cross, _sgd(0.05)),
        Training(
            "converged",
            "digits CNN, AdamW 5e-3",
            ("converged",),
            _cnn(),
            images,
            cross,
            lambda parameters: torch.optim.AdamW(parameters, 5e-3),
        ),
        Training("healthy", "wine, logistic regression", (), _mlp(13, 3), wine, cross, _sgd(0.05), 12, 16),
        Training("healthy", "breast cancer MLP", (), _mlp(30, 32, 2), cancer, cross, _adam(3e-3), 12, 32),
        Training(
            "healthy", "digits CNN, 3 epochs", (), _cnn(), images, cross, _sgd(0.05), 3, grid="coarse-grid"
        ),
        Training("healthy", "digits CNN, batches of 4", (), _cnn(), images, cross, _sgd(0.003), 3, 4),
        Training(
            "healthy", "digits CNN, no validation", (), _cnn(), (images[0], None), cross, _sgd(0.05), 12
        ),
        Training(
            "healthy",
            "digits CNN, 20 validation examples",
            (),
            _cnn(),
            (images[0], (images[1][0][:20], images[1][1][:20])),
            cross,
            _sgd(0.05),
        ),
        Training("slow-descent", "digits CNN, SGD 3e-4", slow, _cnn(norm=False), images, cross, _sgd(3e-4)),
        Training(
            "slow-descent",
            "transformer, Adam 5e-6",
            slow,
            _transformer(),
            text,
            _next_tokens,
            _adam(5e-6),
            20,
            16,
        ),
        Training(
            "still-improving",
            "transformer, Adam 3e-3",
            going,
            _transformer(),
            text,
            _next_tokens,
            _adam(1e-3),
            12,
            16,
        ),
        Training(
            "still-improving", "wine, SGD 2e-3", either, _mlp(13, 16, 3), wine, cross, _sgd(2e-3), 15, 16
        ),
        Training(
            "still-improving",
            "autoencoder, Adam 1e-3",
            going,
            _mlp(64, 32, 8, 32, 64),
            same,
            F.mse_loss,
            _adam(1e-3),
            15,
        ),
        Training(
            "overfitting",
            "40 images",
            over,
            _cnn(16, norm=False),
            _digits(40, images=True),
            cross,
            _adam(1e-2),
            40,
            8,
        ),
        Training(
            "overfitting",
            "transformer on 20 sentences",
            over,
            _transformer(),
            _sentences(20, held=60),
            _next_tokens,
            _adam(5e-3),
            60,
            8,
        ),
        Training(
            "overfitting",
            "400 images with random labels",
            over,
            _cnn(16),
            _random_labels(_digits(400, images=True)),
            cross,
            _adam(1e-2),
            40,
            32,
        ),
        Training(
            "underfitting",
            "autoencoder through one unit",
            ("underfitting",),
            _mlp(64, 1, 64),
            same,
            F.mse_loss,
            _adam(1e-2),
            20,
        ),
        Training(
            "high plateau",
            "digits CNN, Adam 0.3",
            ("underfitting", "oscillating", "plateau-at-start"),
            _cnn(norm=False),
            images,
            cross,
            _adam(0.3),
            12,
        ),
        Training(
            "plateau-at-start",
            "CNN of sigmoids",
            ("plateau-at-start",),
            _cnn(norm=False, activation=nn.Sigmoid),
            images,
            cross,
            _sgd(0.1),
            20,
        ),
        Training(
            "plateau-at-start",
            "wine, five tanh layers of tiny weights",
            ("plateau-at-start",),
            _mlp(13, 16, 16, 16, 16, 3, activation=nn.Tanh, gain=0.3),
            wine,
            cross,
            _adam(3e-4),
            60,
            16,
        ),
        Training(
            "loss-rising",
            "wine, ascent",
            ("loss-rising",),
            _mlp(13, 16, 3),
            wine,
            cross,
            lambda parameters: torch.optim.SGD(parameters, 2e-3, maximize=True),
            15,
            16,
        ),
        Training(
            "oscillating",
            "cancer, linear, full batch, momentum 0.99",
            ("oscillating",),
            _mlp(30, 2),
            _one_hot(cancer),
            F.mse_loss,
            _sgd(0.01, momentum=0.99),
            200,
            1000,
        ),
        Training(
            "oscillating",
            "wine, linear, full batch, momentum 0.98",
            ("oscillating",),
            _mlp(13, 3, gain=2.0),
            _one_hot(wine),
            F.mse_loss,
            _sgd(0.3, momentum=0.98),
            60,
            1000,
        ),
        Training(
            "loss-rising",
            "autoencoder, momentum 0.998",
            ("loss-rising",),
            _mlp(64, 16, 64),
            same,
            F.mse_loss,
            _sgd(0.1, momentum=0.998),
            15,
        ),
        Training(
            "loss-spike",
            "CNN, a batch times -30",
            ("loss-spike",),
            _cnn(norm=False),
            images,
            cross,
            _adam(2e-3),
            15,
            64,
            _outlier(200, factor=-30.0),
        ),
        Training(
            "loss-spike",
            "cancer, a batch times -25",
            ("loss-spike",),
            _mlp(30, 32, 2),
            cancer,
            cross,
            _sgd(0.02),
            20,
            32,
            _outlier(170, factor=-25.0),
        ),
    ]


def main() -> None:
    """Record the half that is named, and print how each curve went."""
    torch.set_num_threads(1)
    half = sys.argv[1]
    kept = []
    for training in {"tuning": tuning, "held_out": held_out}[half]():
        kept.append(recorded(training))
        one = kept[-1]
        peak = max(range(len(one["loss"])), key=one["loss"].__getitem__)
        print(
            f"{one['kind']}: {one['name']} ({len(one['loss'])} steps, highest {one['loss'][peak]:.3g} at {peak})"
        )
        print("    steps", *(f"{x:.3g}" for x in one["loss"][:: max(1, len(one["loss"]) // 20)]))
        for key in ("train_loss", "val_loss"):
            print("   ", key, *(f"{x:.3g}" for x in (one[key] or [])[:: max(1, training.epochs // 15)]))
    lines = ",\n".join(json.dumps(one, separators=(",", ":")) for one in kept)
    (HERE / "recorded" / f"{half}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
