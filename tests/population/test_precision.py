from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from programs import CPU, Notes, batches_of, blob_task, blobs, language_task, mlp, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.data.batches import FixedBatches
from lrtune.errors import ConfigError
from lrtune.population.evaluation import evaluate_model
from lrtune.population.forward import call_model, run_batch
from lrtune.population.fused.equivalence import why_not_fused
from lrtune.population.placement import placed
from lrtune.population.precision import check_precision, products_in
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.recipe import Recipe

GPU = torch.device("cuda", 0)
MEMBERS = [Member(0.1, 1e-4, seed) for seed in range(3)]
BATCHES = [tuple(part) for part in zip(*(one.split(8) for one in blobs(40).tensors), strict=True)]


def half(task: lrtune.Task, **optimizer: Any) -> Any:
    """Return the task's program under autocast."""
    return replace(program_of(task, **optimizer), precision="bfloat16")


def trained_under_autocast(member: Member) -> list[float]:
    """Return the losses of a plain script with `torch.autocast`."""
    torch.manual_seed(member.seed)
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=member.learning_rate, weight_decay=member.weight_decay)
    losses = []
    for inputs, target in BATCHES:
        with torch.autocast("cpu", torch.bfloat16):
            output = model(inputs)
        loss = F.cross_entropy(output.float(), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_training_is_that_of_a_script_with_autocast() -> None:
    """Every loss is bitwise a plain loop's with autocast around the model, and another than float32's."""
    population = SerialPopulation(half(blob_task()), MEMBERS, FixedBatches(BATCHES), {})
    losses = population.advance(len(BATCHES))
    assert losses.tolist() == [trained_under_autocast(member) for member in MEMBERS]
    single = SerialPopulation(program_of(blob_task()), MEMBERS, FixedBatches(BATCHES), {})
    assert not torch.equal(single.advance(len(BATCHES)), losses)
    assert {one.dtype for one in population.export(0).values()} == {torch.float32}


class Seen(nn.Linear):
    """Remembers the type of what it gave."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        out = super().forward(inputs)
        self.given = out.dtype
        return out


def as_numpy(output: Tensor, target: Tensor) -> Tensor:
    """Count right answers with NumPy, which knows no bfloat16."""
    return torch.tensor(np.mean(output.numpy().argmax(1) == target.numpy()))


def test_evaluation_is_under_autocast_too() -> None:
    """Where a split is measured the model computes in bfloat16; loss and metrics see float32."""
    task = half(blob_task(model=lambda: Seen(4, 3), metrics={"right": as_numpy})).task
    model = task.model()
    loss, metrics = evaluate_model(task, model, batches_of(blobs(40), 8))
    assert model.given == torch.bfloat16
    assert loss != pytest.approx(evaluate_model(blob_task(), model, batches_of(blobs(40), 8))[0], rel=1e-6)
    assert 0 <= metrics["right"] <= 1


def test_everything_that_calls_a_model() -> None:
    """A call for its output alone, and a task's own step, run under autocast; what comes back is float32."""
    task = half(blob_task(model=lambda: Seen(4, 3))).task
    model = task.model()
    assert call_model(task, model, BATCHES[0][0]).dtype == torch.float32
    assert model.given == torch.bfloat16
    seen: list[torch.dtype] = []

    def step(model: nn.Module, batch: Any) -> dict[str, Tensor]:
        output = model(batch[0])
        seen.append(output.dtype)
        return {"loss": output.square().mean(), "output": output, "target": batch[1]}

    outcome = run_batch(half(blob_task(loss=None, step=step, metrics={})).task, mlp(), BATCHES[0])
    assert seen == [torch.bfloat16]
    assert (outcome.loss.dtype, outcome.output.dtype) == (torch.float32, torch.float32)


def test_the_callers_task_is_untouched() -> None:
    """Only the engine's own copy of a task is under autocast, made once, with the task's identity."""
    task = blob_task()
    program = half(task)
    assert (task.autocast, program.task.autocast, program.task.token) == (None, "cpu", task.token)
    assert replace(program, channels_last=True).task is program.task
    assert placed(program.task, CPU).autocast is None


def test_rounding_over_rows_is_refused() -> None:
    """A linear layer's bias rounds otherwise over rows under autocast: the preflight tells, and does not fuse."""
    assert why_not_fused(program_of(blob_task()), MEMBERS, FixedBatches(BATCHES)) is None
    assert "differs by" in str(why_not_fused(half(blob_task()), MEMBERS, FixedBatches(BATCHES)))


def test_the_same_over_rows_is_fused() -> None:
    """Without a bias the products are the same over rows, and so is the autocast program."""
    task = blob_task(model=lambda: nn.Linear(4, 3, bias=False))
    assert why_not_fused(half(task), MEMBERS, FixedBatches(BATCHES)) is None


def test_a_whole_step() -> None:
    """A step's result under autocast is near float32's and not the same."""
    results = [
        lrtune.check_init(language_task(), lrtune.Config(device="cpu", batch_size=8, precision=precision))
        for precision in ("float32", "bfloat16")
    ]
    assert [result.verdict for result in results] == ["pass", "pass"]
    single, rounded = (result.summary["initial_loss"] for result in results)
    assert rounded == pytest.approx(single, rel=1e-2)


def test_tf32_on_a_cpu_is_told() -> None:
    """Settings made for a GPU work on a laptop: a line says that they change nothing."""
    notes = Notes()
    Recipe(blob_task(), lrtune.Config(device="cpu", precision="tf32"), notes)
    assert notes.notes == ["precision: tf32 changes nothing on cpu, which has no such products"]
    assert check_precision("float32", CPU) is None
    assert check_precision("bfloat16", CPU) is None


@pytest.mark.parametrize(
    ("precision", "capability", "said"),
    [("tf32", (8, 0), None), ("tf32", (7, 5), "changes nothing"), ("bfloat16", (7, 0), "in float32")],
)
def test_what_a_gpu_knows(
    precision: Any, capability: tuple[int, int], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GPUs before Ampere have neither TF32 nor products in bfloat16."""
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    found = check_precision(precision, GPU)
    assert found is None if said is None else said in str(found)


def test_bfloat16_where_it_cannot_be() -> None:
    """A device without autocast is a fault of the settings."""
    with pytest.raises(ConfigError, match="bfloat16 is not to be had on meta"):
        check_precision("bfloat16", torch.device("meta"))


def settings() -> list[str]:
    """Return how torch is set to multiply."""
    backends: Any = torch.backends
    return [one.fp32_precision for one in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)]


@pytest.mark.skipif(not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="before torch 2.9")
def test_tf32_for_the_length_of_the_work() -> None:
    """Torch's settings are TF32 inside and the user's own afterwards, after an exception too."""
    before = settings()
    seen: list[list[str]] = []

    def fail() -> None:
        with products_in("tf32", GPU):
            seen.append(settings())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [["tf32", "tf32", "tf32"]]
    assert settings() == before
    for precision, device in (("float32", GPU), ("bfloat16", GPU), ("tf32", CPU)):
        with products_in(precision, device):  # type: ignore[arg-type]
            assert settings() == before
    torch.get_float32_matmul_precision()  # raises where old and new settings contradict each other


def test_tf32_under_its_older_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before torch 2.9 the settings are called `allow_tf32`."""
    matmul, cudnn = SimpleNamespace(allow_tf32=False), SimpleNamespace(allow_tf32=True)
    monkeypatch.setattr("torch.backends.cuda", SimpleNamespace(matmul=matmul))
    monkeypatch.setattr("torch.backends.cudnn", cudnn)
    with products_in("tf32", GPU):
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (True, True)
    assert (matmul.allow_tf32, cudnn.allow_tf32) == (False, True)
