"""Several labels for a dish from its ingredients' names; strings, a vocabulary, dicts and attention over words."""

from __future__ import annotations

import functools
import random
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lrtune

ALLERGENS = ("gluten", "milk", "egg", "nuts", "fish", "soy", "lupin")
LONGEST = 12
TRIGGERS = {label: [f"{label}{n}" for n in range(4)] for label in ALLERGENS[:-1]}
PLAIN = [f"herb{n}" for n in range(30)]
VOCABULARY = {
    word: index
    for index, word in enumerate(
        ["<pad>", "<unk>", *PLAIN, *(w for words in TRIGGERS.values() for w in words)]
    )
}


def write_menu(dishes: int, seed: int) -> list[dict[str, Any]]:
    """Write dishes: ingredients as a card spells them, and the numbers of the allergens. None holds lupin."""
    source = random.Random(seed)
    menu = []
    for _ in range(dishes):
        labels = [number for number in range(len(ALLERGENS) - 1) if source.random() < 0.3]
        words = [source.choice(TRIGGERS[ALLERGENS[number]]) for number in labels]
        words += source.sample(PLAIN, source.randint(4, 11 - len(words)))
        source.shuffle(words)
        menu.append({"words": [word.capitalize() for word in words], "labels": labels})
    return menu


def collate(dishes: list[dict[str, Any]], bug: str) -> dict[str, Tensor]:
    """Look the words up and mark the labels."""
    tokens = torch.zeros(len(dishes), LONGEST, dtype=torch.long)
    wanted = torch.zeros(len(dishes), len(ALLERGENS))
    for row, dish in enumerate(dishes):
        for place, word in enumerate(dish["words"]):
            tokens[row, place] = VOCABULARY.get(word if bug == "case" else word.lower(), 1)
        for number, name in enumerate(ALLERGENS):
            wanted[row, number] = float((name if bug == "names" else number) in dish["labels"])
    return {"tokens": tokens, "wanted": 2 * wanted - 1 if bug == "signs" else wanted}


class Tagger(nn.Module):
    """Words are embedded, weighed by attention and summed."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.words = nn.Embedding(len(VOCABULARY), 48, padding_idx=0)
        self.weigh = nn.Linear(48, 1)
        self.out = nn.Sequential(nn.Linear(48, 64), nn.Tanh(), nn.Linear(64, len(ALLERGENS)))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens `[batch, places]` to logits `[batch, allergens]`."""
        embedded = self.words(tokens)
        hidden = tokens.eq(0)
        if self.bug == "inverted":
            hidden = ~hidden
        weights = self.weigh(embedded).squeeze(-1).masked_fill(hidden, -1e9).softmax(dim=1)
        logits = self.out(torch.einsum("bp,bpd->bd", weights, embedded))
        return torch.sigmoid(logits) if self.bug == "sigmoid" else logits


def step(model: nn.Module, batch: dict[str, Tensor], weight: Tensor, bug: str) -> dict[str, Tensor]:
    """Compute the loss of a batch."""
    logits = model(batch["tokens"])
    if bug == "cross-entropy":
        loss = nn.functional.cross_entropy(logits, batch["wanted"])
    else:
        loss = nn.functional.binary_cross_entropy_with_logits(logits, batch["wanted"], pos_weight=weight)
    return {"loss": loss, "output": logits, "target": batch["wanted"]}


def weigh_labels(menu: list[dict[str, Any]], bug: str) -> Tensor:
    """Return how much rarer each allergen is than its absence, at most 5."""
    present = torch.zeros(len(ALLERGENS))
    for dish in menu:
        present[dish["labels"]] += 1
    ratio = (len(menu) - present) / present
    return ratio if bug == "unbounded" else ratio.clamp(max=5.0)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    menu = write_menu(700, seed=11)
    join = functools.partial(collate, bug=bug)
    generator = torch.Generator().manual_seed(9)
    return lrtune.Task(
        model=lambda: Tagger(bug),
        train=DataLoader(menu, batch_size=50, shuffle=True, collate_fn=join, generator=generator),
        val=DataLoader(write_menu(150, seed=12), batch_size=50, collate_fn=join),
        step=functools.partial(step, weight=weigh_labels(menu, bug), bug=bug),
        optimizer=lambda model, lr, decay: torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="allergens-multilabel",
    healthy=make_task,
    faults=(
        # Stack Overflow, sigmoid with BCEWithLogitsLoss; UMLAUT; NeuraLint.
        fault("a sigmoid before BCE with logits", "sigmoid", "double-softmax"),
        # Humbatova 2020, "wrong selection of loss function"; Stack Overflow, multi-label with CrossEntropyLoss.
        fault("cross-entropy for several labels a dish", "cross-entropy", "target-out-of-range"),
        # mlwithme/TransformerTranslation#6, earthspecies/avex#26, pytorch/pytorch#114083.
        fault("the padding mask is the wrong way round", "inverted", "input-ignored"),
        # Humbatova 2020, "missing preprocessing (case, tokenisation)"; 37 reasons.
        fault("capitals are not lowered, so that no word is known", "case", "constant-input"),
        # 37 reasons "check the labels"; Humbatova 2020, "wrong labels for training data".
        fault("allergens' names are looked for among numbers", "names", "constant-target"),
        # DeepLocalize and Zhang 2018, division by zero; PyTorch forum, pos_weight of a class that never occurs.
        fault("the weight of a label without examples is infinite", "unbounded", "nonfinite-loss"),
    ),
)
