from __future__ import annotations

import functools
import math
from typing import Any

import pytest
import torch
from programs import blob_task, blobs, codes, context_of, generator, language_task, linear_task
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader, Dataset, TensorDataset

import lrtune
from lrtune.steps.check_init import check_init

OWN = {"constant-input", "input-not-normalised", "conflicting-labels", "unshuffled-batches", "target-leak"}
SEEDS = range(3)
N = 240
LABELS = torch.arange(N) % 3


def found(task: lrtune.Task, **keys: Any) -> list[str]:
    """The codes of this family that a task gets."""
    return [code for code in codes(check_init(context_of(task, **keys))) if code in OWN]


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Numbers drawn from the normal distribution."""
    return torch.randn(*shape, generator=generator(seed))


def layers(features: int, outputs: int = 3) -> nn.Module:
    """A perceptron."""
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 8), nn.ReLU(), nn.Linear(8, outputs))


def classifier(inputs: Tensor, labels: Tensor = LABELS, model: Any = None, **fields: Any) -> lrtune.Task:
    """A classification of inputs in whatever scale."""
    width = inputs[0].numel()
    build = model or functools.partial(layers, width)
    parts = {"model": build, "train": TensorDataset(inputs, labels), "loss": F.cross_entropy}
    return lrtune.Task(**{**parts, **fields})


def regression(inputs: Tensor, target: Tensor, model: Any = None) -> lrtune.Task:
    """A regression of one number."""
    build = model or functools.partial(layers, inputs[0].numel(), 1)
    return lrtune.Task(model=build, train=TensorDataset(inputs, target), loss=F.mse_loss)


# --- models and data ---------------------------------------------------------------------------------------------


def convolutions(channels: int = 1) -> nn.Module:
    """A small convolutional network."""
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), pool, nn.Flatten(), nn.Linear(4, 3))


class Recurrent(nn.Module):
    """A GRU over `[batch, time, features]`."""

    def __init__(self, features: int, outputs: int = 3) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(features, 8, batch_first=True), nn.Linear(8, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the output after the last step."""
        return self.head(self.gru(inputs)[0][:, -1])


class Functional(nn.Module):
    """Has a weight of its own and no layer."""

    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(features, 3))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return inputs @ self.weight


class Preparing(nn.Module):
    """Scales bytes in its forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(1, 36))
        self.layer = nn.Linear(36, 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        return self.layer((images.flatten(1) - 128) / 64 + self.position)


class Words(nn.Module):
    """The mean of small embeddings, and a layer."""

    def __init__(self, vocabulary: int = 30, outputs: int = 3) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(vocabulary, 8), nn.Linear(8, outputs)
        nn.init.normal_(self.embedding.weight, std=0.002)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.embedding(tokens).mean(1))


IMAGES = normal(N, 1, 6, 6).abs().clamp(0, 1)
IMAGES[:, :, 0] = 0
TABLE = normal(N, 6, seed=1)
TEXTS = torch.randint(1, 30, (N, 12), generator=generator(2))
WAVES = normal(N, 10, 4, seed=3)


def altered(column: Tensor, place: int = 2, table: Tensor = TABLE) -> Tensor:
    """The table with another column in one place."""
    changed = table.clone()
    changed[:, place] = column
    return changed


def padded(tokens: Tensor, length: int) -> Tensor:
    """Tokens with zeros behind."""
    return F.pad(tokens, (0, length - tokens.shape[1]))


class Same(Dataset[tuple[Tensor, Tensor]]):
    """Hands out its first input for every index."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return TABLE[0], LABELS[index]


# --- constant-input ----------------------------------------------------------------------------------------------


UNKNOWN = torch.where(torch.rand(N, 24, generator=generator(4)) < 0.8, 0, 1)
UNKNOWN[:, -1] = 2
UNKNOWN[:, 0] = 3
CONSTANT = {
    "the first example for all": lambda: classifier(TABLE, train=Same()),
    "zeros as images": lambda: classifier(torch.zeros(N, 1, 6, 6), model=convolutions),
    "zeros as a series": lambda: classifier(torch.zeros(N, 10, 4), model=functools.partial(Recurrent, 4)),
    "one sentence": lambda: classifier(TEXTS[:1].repeat(N, 1), model=Words),
    "nearly all tokens unknown": lambda: classifier(UNKNOWN, model=functools.partial(Words, 100)),
    "functional model": lambda: classifier(torch.ones(N, 6), model=Functional),
    "all but two of 40 columns": lambda: classifier(torch.cat([torch.full((N, 38), 0.3), TABLE[:, :2]], 1)),
    "in a dict batch": lambda: dict_task(torch.zeros(N, 6), LABELS),
}


def dict_task(inputs: Tensor, labels: Tensor, **others: Tensor) -> lrtune.Task:
    """A step over dict batches, of which the model is given one part."""
    names = {"inputs": inputs, "labels": labels, **others}
    rows = [{name: part[index] for name, part in names.items()} for index in range(len(inputs))]

    def step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        output = model(batch["inputs"])
        return {"loss": F.cross_entropy(output, batch["labels"]), "output": output, "target": batch["labels"]}

    return lrtune.Task(model=functools.partial(layers, inputs[0].numel()), train=Rows(rows), step=step)


class Rows(Dataset[dict[str, Tensor]]):
    """A list of dicts."""

    def __init__(self, rows: list[dict[str, Tensor]]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self.rows[index]


@pytest.mark.parametrize("make", CONSTANT.values(), ids=CONSTANT)
def test_constant_inputs(make: Any) -> None:
    """Inputs that do not vary are one cause, under which conflicting labels are shown."""
    result = check_init(context_of(make()))
    own = [finding for finding in result.findings if finding.code in OWN]
    assert own[0].code == "constant-input"
    assert {one.code for one in own[1:]} <= {"conflicting-labels"}
    assert all(one.follows_from == "constant-input" for one in own[1:])


# --- input-not-normalised ----------------------------------------------------------------------------------------


SCALES = {
    "bytes into a perceptron": (lambda: classifier(255 * IMAGES), "size 2"),
    "bytes into a convolution": (lambda: classifier(255 * IMAGES, model=convolutions), "channel 0"),
    "integer bytes, cast in forward": (
        lambda: classifier((255 * IMAGES).byte(), model=lambda: nn.Sequential(Cast(), layers(36))),
        "size 2",
    ),
    "divided by 255 twice": (lambda: classifier(IMAGES / 255), "scaled down twice"),
    "years": (lambda: classifier(altered(2010 + 10 * TABLE[:, 2])), "2: 20"),
    "kelvin in a series": (
        lambda: classifier(290 + 5 * WAVES, model=functools.partial(Recurrent, 4)),
        "far from 0",
    ),
    "a tiny column": (lambda: classifier(altered(1e-4 * TABLE[:, 2])), "differ by a factor"),
    "kilometres, functional": (lambda: classifier(altered(1e4 * TABLE[:, 2].abs()), model=Functional), "2: "),
    "attention": (lambda: classifier(300 * WAVES, model=lambda: Attention()), "attention"),
    "weight norm": (lambda: classifier(300 * TABLE, model=lambda: weight_normed()), "size"),
}


class Cast(nn.Module):
    """Turns integers into floating point."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the same numbers."""
        return inputs.float()


class Attention(nn.Module):
    """Attention whose layers are reached by a function, then a head."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.attention(inputs, inputs, inputs)[0].mean(1))


def weight_normed() -> nn.Module:
    """A first layer that is parametrised."""
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3))


@pytest.mark.parametrize(("make", "told"), SCALES.values(), ids=SCALES)
def test_inputs_of_a_wrong_scale(make: Any, told: str) -> None:
    """Scale, offset and unequal columns are told with the place and the numbers."""
    result = check_init(context_of(make()))
    finding = next(one for one in result.findings if one.code == "input-not-normalised")
    assert told in finding.message
    assert finding.severity == "warning"


# --- conflicting-labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_with_other_labels(seed: int) -> None:
    """Copies whose labels were shuffled: the message tells how many examples, ceiling and floor."""
    inputs = normal(N, 6, seed=seed).repeat(2, 1)
    labels = torch.cat([LABELS, (LABELS + 1) % 3])
    result = check_init(context_of(classifier(inputs, labels)))
    finding = next(one for one in result.findings if one.code in OWN)
    assert finding.code == "conflicting-labels"
    assert "480 of 480 examples (100%)" in finding.message
    assert "50.0% accuracy" in finding.message
    assert f"{math.log(2):.3g} nats" in finding.message


OTHERS = torch.cat([LABELS, (LABELS + 1) % 3])  # of every example and its copy
CONFLICTS = {
    "images": lambda: classifier(IMAGES.repeat(2, 1, 1, 1), OTHERS),
    "sentences": lambda: classifier(TEXTS.repeat(2, 1), OTHERS, model=Words),
    "sentences cut to one word": lambda: classifier(TEXTS[:, :1] % 5, model=Words),
    "measurements": lambda: regression(TABLE.repeat(2, 1), normal(2 * N, 1, seed=5)),
    "dict batches": lambda: dict_task(TABLE.repeat(2, 1), OTHERS),
    "rounded to nothing much": lambda: classifier(TABLE[:, :2].sign()),
}


@pytest.mark.parametrize("make", CONFLICTS.values(), ids=CONFLICTS)
def test_equal_inputs_with_other_targets(make: Any) -> None:
    """Contradictory copies are found among images, tokens, numbers and dict batches."""
    assert found(make()) == ["conflicting-labels"]


# --- unshuffled-batches ------------------------------------------------------------------------------------------


def by_class(labels: Tensor = LABELS, size: int = 16, **keys: Any) -> lrtune.Task:
    """A loader over rows sorted by label."""
    order = labels.argsort(stable=True)
    loader = DataLoader(TensorDataset(TABLE[order], labels[order]), batch_size=size, **keys)
    return classifier(TABLE, train=loader, model=functools.partial(layers, 6, int(labels.max()) + 1))


def by_value() -> lrtune.Task:
    """Rows sorted by a regression's target."""
    target = TABLE[:, :1].sort(0).values
    loader = DataLoader(TensorDataset(TABLE, target), batch_size=16)
    return lrtune.Task(model=functools.partial(layers, 6, 1), train=loader, loss=F.mse_loss)


def listed_dicts() -> lrtune.Task:
    """A list of dict batches of one class each, in a step."""
    task = dict_task(TABLE, LABELS)
    order = LABELS.argsort(stable=True)
    batches = [{"inputs": TABLE[part], "labels": LABELS[part]} for part in order.split(20)]
    return lrtune.Task(model=task.model, train=batches, step=task.step)


UNSHUFFLED = {
    "three classes": by_class,
    "sixty classes": lambda: by_class(torch.arange(N) % 60),
    "a measurement": by_value,
    "a list of dict batches": listed_dicts,
    "a first thousand of one class": lambda: classifier(
        TABLE,
        train=DataLoader(TensorDataset(normal(4000, 6), torch.arange(4000) // 2000), batch_size=64),
    ),
}


@pytest.mark.parametrize("make", UNSHUFFLED.values(), ids=UNSHUFFLED)
def test_batches_in_the_order_of_their_targets(make: Any) -> None:
    """Sorted batches are the cause; a constant target in the first of them follows from it."""
    result = check_init(context_of(make()))
    assert [code for code in codes(result) if code in OWN] == ["unshuffled-batches"]
    roots = [one.code for one in result.findings if one.follows_from is None]
    assert "constant-target" not in roots


def drawn_classes(classes: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Batches of a few classes each, drawn anew for each batch, as metric learning has them."""
    batches = []
    for number in range(40):
        chosen = torch.randperm(50, generator=generator(100 * seed + number))[:classes]
        labels = chosen.repeat_interleave(32 // classes)
        batches.append((normal(len(labels), 6, seed=number), labels))
    return batches


@pytest.mark.parametrize("seed", SEEDS)
def test_batches_in_random_order(seed: int) -> None:
    """Unshuffled loaders over random rows, shuffled ones over sorted rows, and drawn classes are healthy."""
    order = torch.randperm(N, generator=generator(seed))
    rows = TensorDataset(TABLE[order], LABELS[order])
    assert found(classifier(TABLE, train=DataLoader(rows, batch_size=16))) == []
    assert found(classifier(TABLE, train=[rows[i : i + 16] for i in range(0, N, 16)])) == []
    assert found(by_class(shuffle=True)) == []
    for classes in (2, 8):
        task = classifier(TABLE, train=drawn_classes(classes, seed), model=functools.partial(layers, 6, 50))
        assert found(task) == []


# --- target-leak -------------------------------------------------------------------------------------------------


class Causal(nn.Module):
    """A language model: attention with or without a mask, a GRU in one direction or both, or a convolution."""

    def __init__(self, kind: str, hidden: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.embedding, self.position = nn.Embedding(30, 16), nn.Embedding(12, 16)
        if kind in ("masked", "unmasked"):
            self.body: nn.Module = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        elif kind == "convolution":
            self.body = nn.Conv1d(16, 16, 3, padding=1)
        else:
            self.body = nn.GRU(16, 16, batch_first=True, bidirectional=kind == "both ways")
        self.head = nn.Linear(32 if kind == "both ways" else 16, 30)
        if hidden:
            nn.init.zeros_(self.head.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits `[batch, time, 30]`."""
        time = tokens.shape[1]
        features = self.embedding(tokens) + self.position(torch.arange(time))
        if self.kind == "convolution":
            return self.head(self.body(features.transpose(1, 2)).transpose(1, 2))
        if self.kind in ("masked", "unmasked"):
            mask = nn.Transformer.generate_square_subsequent_mask(time) if self.kind == "masked" else None
            return self.head(self.body(features, src_mask=mask))
        return self.head(self.body(features)[0])


def next_token(model: nn.Module, tokens: Tensor) -> dict[str, Tensor]:
    """Shift inside the step, and hand out the tokens as they are."""
    logits = model(tokens)
    return {
        "loss": F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()),
        "output": logits,
        "target": tokens,
    }


def bare(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return the loss alone."""
    return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())


def masked_words(model: nn.Module, tokens: Tensor) -> dict[str, Tensor]:
    """Hide each third token and predict it: the model sees both sides by design."""
    hidden = torch.arange(tokens.shape[1]) % 3 == 1
    logits = model(tokens.masked_fill(hidden, 0))
    labels = tokens.masked_fill(~hidden, -100)
    return {
        "loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten()),
        "output": logits,
        "target": labels,
    }


def copied(model: nn.Module, tokens: Tensor) -> dict[str, Tensor]:
    """Compare each output with the token at its own place."""
    logits = model(tokens)
    return {
        "loss": F.cross_entropy(logits.flatten(0, 1), tokens.flatten()),
        "output": logits,
        "target": tokens,
    }


def language(kind: str, step: Any = next_token, hidden: bool = False) -> lrtune.Task:
    """A language model on random tokens."""
    return lrtune.Task(model=functools.partial(Causal, kind, hidden), train=list(TEXTS.split(16)), step=step)


def pairs(kind: str) -> lrtune.Task:
    """The same from pairs, with the classes in dimension 1 as torch's loss takes them."""
    data = TensorDataset(TEXTS[:, :-1], TEXTS[:, 1:])
    loss = lambda output, target: F.cross_entropy(output.transpose(1, 2), target)  # noqa: E731
    return lrtune.Task(model=functools.partial(Causal, kind), train=data, loss=loss)


PRICE = TABLE @ torch.tensor([[1.0], [0.5], [-1.0], [0.2], [0.1], [0.3]]) + 0.3 * normal(N, 1, seed=7)
LEAKS = {
    "a copy of the target": lambda: regression(altered(PRICE[:, 0]), PRICE),
    "in another unit": lambda: regression(altered(-0.5 * PRICE[:, 0] + 1), PRICE),
    "in half precision": lambda: regression(altered(PRICE[:, 0].half().float()), PRICE),
    "the label as a number": lambda: classifier(altered(LABELS - 1.0)),
    "one-hot labels": lambda: classifier(torch.cat([TABLE, F.one_hot(LABELS, 3)], 1)),
    "one-hot labels but the first": lambda: classifier(torch.cat([TABLE, F.one_hot(LABELS, 3)[:, 1:]], 1)),
    "a binary label": lambda: classifier(altered(2.0 * (LABELS > 0) - 1), (LABELS > 0).long()),
    "in a dict batch": lambda: dict_task(altered(LABELS - 1.0), LABELS),
    "the last step of a window": lambda: regression(WAVES, WAVES[:, -1, :1], lambda: Recurrent(4, 1)),
    "no causal mask": lambda: language("unmasked"),
    "no causal mask behind a head of zeros": lambda: language("unmasked", hidden=True),
    "no causal mask, pairs": lambda: pairs("unmasked"),
    "a GRU that reads both ways": lambda: language("both ways"),
    "a convolution padded on both sides": lambda: language("convolution"),
    "no causal mask, the loss alone": lambda: language("unmasked", bare),
    "a GRU that reads both ways, the loss alone": lambda: language("both ways", bare),
    "targets not shifted": lambda: language("masked", copied),
    "targets not shifted, GRU": lambda: language("one way", copied),
}


@pytest.mark.parametrize("make", LEAKS.values(), ids=LEAKS)
def test_targets_that_stand_in_the_input(make: Any) -> None:
    """Columns, windows and tokens that tell the target are target-leak."""
    assert "target-leak" in found(make())


def test_the_leaking_column_is_named() -> None:
    """Message and fix name the column, and the key of a dict batch."""
    result = check_init(context_of(dict_task(altered(LABELS - 1.0), LABELS)))
    finding = next(one for one in result.findings if one.code == "target-leak")
    assert finding.fix == "Take column 2 of 'inputs' out of the input."


# --- silence -----------------------------------------------------------------------------------------------------


COUNTS = torch.poisson((0.5 * TABLE[:, :1]).exp(), generator=generator(6))
SPARSE = F.one_hot(torch.randint(400, (N,), generator=generator(5)), 400).float()
CODES = torch.stack([torch.randint(size, (N,), generator=generator(size)) for size in (2, 3, 5)], 1)
HEALTHY = {
    "standardised table": lambda: classifier(TABLE),
    "images in [0, 1]": lambda: classifier(IMAGES, model=convolutions),
    "white background": lambda: classifier(1 - 0.2 * IMAGES, model=convolutions),
    "flattened images": lambda: classifier(IMAGES),
    "log-mel features": lambda: classifier(WAVES * 3 - 6, model=functools.partial(Recurrent, 4)),
    "quiet waveforms": lambda: classifier(0.02 * WAVES[..., :1], model=lambda: Recurrent(1)),
    "frames of a quiet waveform": lambda: classifier(0.02 * normal(N, 400)),
    "one-hot columns": lambda: classifier(SPARSE, torch.arange(400)[SPARSE.argmax(1)] % 3),
    "unit vectors": lambda: classifier(F.normalize(normal(N, 1000))),
    "heavy tails": lambda: classifier((3 * TABLE).exp() / (3 * TABLE).exp().std(0)),
    "binary columns": lambda: classifier((TABLE > 1).float(), (TABLE > 1).sum(1).clamp(max=2)),
    "a constant column": lambda: classifier(altered(torch.ones(N))),
    "normalised by the first layer": lambda: classifier(
        100 + 30 * TABLE, model=lambda: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3))
    ),
    "normalised over features": lambda: classifier(
        100 + 30 * WAVES.flatten(1), model=lambda: nn.Sequential(nn.LayerNorm(40), nn.Linear(40, 3))
    ),
    "normalised in forward": lambda: classifier(128 + 64 * IMAGES, model=Preparing),
    "pretrained, with a scale of its own": lambda: classifier(10 + 3 * IMAGES, pretrained=True),
    "small embeddings": lambda: classifier(TEXTS, model=Words),
    "padded sentences": lambda: classifier(padded(TEXTS, 100), model=functools.partial(Words, 5000)),
    "a mask of ones": lambda: dict_task(TABLE, LABELS, mask=torch.ones(N, 4)),
    "Poisson regression": lambda: regression(TABLE, COUNTS),
    "exact linear target": lambda: linear_task(model=lambda: nn.Linear(4, 1)),
    "a curve of one feature": lambda: regression(TABLE[:, :1], 2 * TABLE[:, :1] + 1),
    "repeated measurements": lambda: regression(CODES[:, 1:2].float(), normal(N, 1)),
    "few categories, some noise": lambda: classifier(
        CODES.float(), (CODES.sum(1) % 3 + (torch.rand(N, generator=generator(1)) < 0.2)) % 3
    ),
    "copies with the same labels": lambda: classifier(TABLE.repeat(2, 1), LABELS.repeat(2)),
    "autoencoder": lambda: regression_of(TABLE),
    "one example a batch": lambda: blob_task(train=[(x[None], y[None]) for x, y in blobs()]),
    "full batch": lambda: blob_task(train=[blobs().tensors]),
    "language model": language_task,
    "causal attention": lambda: language("masked"),
    "causal attention, pairs": lambda: pairs("masked"),
    "causal recurrence": lambda: language("one way"),
    "masked words": lambda: language("unmasked", masked_words),
    "sentence autoencoder": lambda: language("both ways", copied),
    "a step that tells only its loss": lambda: lrtune.Task(
        model=lambda: nn.Linear(6, 1), train=list(TABLE.split(16)), step=lambda model, x: model(x).square().mean()
    ),
}  # fmt: skip


def regression_of(inputs: Tensor) -> lrtune.Task:
    """An autoencoder."""
    width = inputs.shape[1]
    return lrtune.Task(
        model=lambda: nn.Sequential(nn.Linear(width, 3), nn.Tanh(), nn.Linear(3, width)),
        train=TensorDataset(inputs, inputs),
        loss=F.mse_loss,
    )


@pytest.mark.parametrize("make", HEALTHY.values(), ids=HEALTHY)
def test_healthy_programs_are_silent(make: Any) -> None:
    """None of this family's codes is raised by a healthy program."""
    assert found(make()) == []


def test_raw_pixels_for_trained_weights() -> None:
    """Trained weights may have a scale of their own, but the size of raw pixels is told all the same."""
    assert found(classifier(255 * IMAGES, pretrained=True)) == ["input-not-normalised"]
