from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import Dataset, TensorDataset

import lrtune
from lrtune.data.nest import example_count
from lrtune.probes import sample as sample_module
from lrtune.probes.data.causality import causality
from lrtune.probes.losses.loss_reduction import loss_reduction
from lrtune.probes.model.batch_mixing import batch_mixing
from lrtune.probes.model.determinism import determinism
from lrtune.probes.model.input_use import input_use
from lrtune.probes.model.mode_gap import mode_gap
from lrtune.probes.sample import Sample

WORDS = torch.randint(30, (16, 10), generator=generator(0))
TABLE, LABELS = torch.randn(200, 4, generator=generator(1)), torch.arange(200) % 3


class Reader(nn.Module):
    """Logits for each word."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Embedding(30, 8), nn.Linear(8, 30))

    def forward(self, words: Tensor) -> Tensor:
        """Return logits `[batch, time, words]`."""
        logits: Tensor = self.net(words)
        return logits


class Fixed(Reader):
    """A reader that knows its batch size."""

    def forward(self, words: Tensor) -> Tensor:
        """Return logits."""
        return super().forward(words) + torch.zeros(16, 1, 1)


def next_word(model: nn.Module, words: Tensor) -> dict[str, Tensor]:
    """A language model's step."""
    output, target = model(words[:, :-1]), words[:, 1:]
    return {
        "loss": F.cross_entropy(output.flatten(0, 1), target.flatten()),
        "output": output,
        "target": target,
    }


def sample_of(task: lrtune.Task) -> Sample:
    """The first batches of a task."""
    context = context_of(task)
    return Sample(context.program, context.data.train, context.data.train.subset(1024, 0), 0)


class Rows(Dataset[Tensor]):
    """Single sequences, which lrtune puts together itself."""

    def __len__(self) -> int:
        return len(WORDS)

    def __getitem__(self, index: int) -> Tensor:
        return WORDS[index]


def reading(train: Any, model: type[Reader] = Reader) -> Sample:
    """A language model's sample."""
    return sample_of(lrtune.Task(model=model, train=train, step=next_word))


PROBES = {
    one.__name__: one for one in (determinism, causality, input_use, mode_gap, loss_reduction, batch_mixing)
}


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_large_outputs_are_measured_on_few_examples(probe: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the first output no probe holds another one of that size; what it measures is there as before."""
    monkeypatch.setattr(sample_module, "_LARGE", 1000)
    sample = reading(Rows())
    assert example_count(sample.batches[0]) == 16
    assert sample.first.output.shape[0] == 16
    notes = list[int]()
    monkeypatch.setattr(Reader, "forward", noting(Reader.forward, notes))
    assert probe(sample) is not None
    assert notes
    assert max(notes) <= 6


def noting(forward: Any, notes: list[int]) -> Any:
    """A forward that notes how many examples it is given."""

    def noted(self: nn.Module, words: Tensor) -> Tensor:
        notes.append(len(words))
        found: Tensor = forward(self, words)
        return found

    return noted


def test_small_outputs_are_measured_on_the_batch() -> None:
    """Nothing is cut where there is room."""
    sample = reading(Rows())
    assert sample.few(2) is sample.batches[0]


def test_batches_of_ones_own_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their first dimension may be something else than examples."""
    monkeypatch.setattr(sample_module, "_LARGE", 1000)
    sample = reading([WORDS])
    assert sample.few(2) is sample.batches[0]


def test_programs_of_one_batch_size_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A size that is written into the model is kept."""
    monkeypatch.setattr(sample_module, "_LARGE", 1000)
    sample = reading(Rows(), Fixed)
    assert sample.few(2) is sample.batches[0]


@pytest.mark.parametrize(
    ("altered", "passes", "known"),
    [
        pytest.param(lambda target: target, 3, 200, id="read by its place"),
        pytest.param(lambda target: target[:, None], 3, 200, id="in the step's shape"),
        pytest.param(lambda target: 2 - target, 63, 64, id="computed"),
    ],
)
def test_a_steps_targets_take_few_passes(altered: Any, passes: int, known: int) -> None:
    """Tiny batches are not all run for their targets; where the place is known all targets are there, and right."""
    calls = []

    def step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        calls.append(len(batch["x"]))
        output, target = model(batch["x"]), altered(batch["y"])
        return {"loss": F.cross_entropy(output, target.flatten()), "output": output, "target": target}

    rows = [{"x": TABLE[i : i + 1], "y": LABELS[i : i + 1]} for i in range(200)]
    sample = sample_of(lrtune.Task(model=lambda: nn.Linear(4, 3), train=rows, step=step))
    assert sample.first.target is not None
    calls.clear()
    targets = sample.targets
    assert (len(calls), len(targets)) == (passes, known)
    assert all(torch.equal(told, altered(batch["y"])) for told, batch in zip(targets, rows, strict=False))


def test_the_family_is_that_of_a_loss_by_behaviour() -> None:
    """A loss of the user's own with class weights is softmax cross-entropy to every probe."""
    weights = torch.tensor([1.0, 2.0, 5.0])
    task = lrtune.Task(
        model=lambda: nn.Linear(4, 3),
        train=TensorDataset(TABLE, LABELS),
        loss=lambda output, target: F.cross_entropy(output, target, weights),
    )
    family = sample_of(task).family
    assert family is not None
    assert family.name == "softmax cross-entropy"
