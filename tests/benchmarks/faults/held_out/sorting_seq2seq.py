"""An LSTM encoder and a decoder with attention put digits in order; the decoder is fed the right answer so far."""

from __future__ import annotations

from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

import lrtune

START, END, PAD = 10, 11, 12


class _Pairs:
    """Lists of four to seven digits with the same digits sorted; a map-style data set without a base class."""

    def __init__(self, count: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        lengths = torch.randint(4, 8, (count,), generator=draw).tolist()
        self.lists = [torch.randint(10, (length,), generator=draw) for length in lengths]

    def __len__(self) -> int:
        return len(self.lists)

    def __getitem__(self, index: int) -> Tensor:
        return self.lists[index]


def _collate(lists: list[Tensor], ignored: int = PAD, shift: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Pad to (source, what the decoder reads, what it should say)."""
    source = torch.full((len(lists), 7), PAD)
    reads = torch.full((len(lists), 8), PAD)
    says = torch.full((len(lists), 8), ignored)
    for row, digits in enumerate(lists):
        count = len(digits)
        answer = torch.cat([digits.sort().values, torch.tensor([END])])
        source[row, :count] = digits
        says[row, : count + 1] = answer
        reads[row, : count + 1] = torch.cat([torch.tensor([START]), answer[:-1]]) if shift else answer
    return source, reads, says


class _Seq2Seq(nn.Module):
    def __init__(self, use_context: bool = True, large_weights: bool = False) -> None:
        super().__init__()
        self.use_context = use_context
        self.embed = nn.Embedding(13, 24, padding_idx=PAD)
        self.encoder = nn.LSTM(24, 40, batch_first=True)
        self.decoder = nn.LSTM(24, 40, batch_first=True)
        self.query = nn.Linear(40, 40)
        self.mix = nn.Linear(80, 40)
        self.out = nn.Linear(40, 13)
        if large_weights:
            for lstm in (self.encoder, self.decoder):
                for name, weight in lstm.named_parameters():
                    if name.startswith("weight"):
                        nn.init.normal_(weight)

    def forward(self, source: Tensor, reads: Tensor) -> Tensor:
        memory, state = self.encoder(self.embed(source))
        said, _ = self.decoder(self.embed(reads), state)
        scores = self.query(said) @ memory.transpose(1, 2) / 40**0.5
        scores = scores.masked_fill((source == PAD).unsqueeze(1), float("-inf"))
        context = scores.softmax(dim=2) @ memory
        if self.use_context:
            said = torch.tanh(self.mix(torch.cat([said, context], dim=2)))
        return self.out(said)


def _teacher_forced(
    model: nn.Module,
    batch: tuple[Tensor, Tensor, Tensor],
    ignore: bool = True,
    on_predictions: bool = False,
) -> dict[str, Tensor]:
    source, reads, says = batch
    logits = model(source, reads)
    if on_predictions:
        wrong = (logits.argmax(dim=2) != says) & (says != PAD)
        return {"loss": wrong.float().mean(), "output": logits, "target": says}
    ignored = {"ignore_index": PAD} if ignore else {}
    loss = functional.cross_entropy(logits.flatten(0, 1), says.flatten(), **ignored)
    return {"loss": loss, "output": logits, "target": says}


def _task(
    ignored: int = PAD,
    shift: bool = True,
    ignore: bool = True,
    on_predictions: bool = False,
    **network: bool,
) -> lrtune.Task:
    collate = partial(_collate, ignored=ignored, shift=shift)
    return lrtune.Task(
        model=lambda: _Seq2Seq(**network),
        train=DataLoader(
            _Pairs(960, 0),
            batch_size=32,
            shuffle=True,
            collate_fn=collate,
            generator=torch.Generator().manual_seed(0),
        ),
        val=DataLoader(_Pairs(128, 1), batch_size=64, collate_fn=collate),
        step=partial(_teacher_forced, ignore=ignore, on_predictions=on_predictions),
    )


CASE = Case(
    name="sorting-seq2seq",
    healthy=_task,
    faults=(
        Fault(
            "answers padded with -1, nothing ignored",
            ("target-out-of-range",),
            partial(_task, ignored=-1, ignore=False),
        ),
        Fault("the decoder reads what it should say", ("target-leak",), partial(_task, shift=False)),
        Fault("the loss counts wrong predictions", ("detached-loss",), partial(_task, on_predictions=True)),
        Fault(
            "attention is computed and not used",
            ("parameter-without-gradient",),
            partial(_task, use_context=False),
        ),
        Fault("weights of the LSTMs from N(0, 1)", ("saturated-units",), partial(_task, large_weights=True)),
    ),
    config={"optimizer": {"name": "adam"}},
)
