"""A table of used cars with categorical and numeric columns: embeddings, dict batches, a price to predict."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

BRANDS, CITIES, FUELS = 12, 20, 4


class Cars(Dataset[dict[str, Tensor]]):
    """Cars whose price falls with age and mileage, at a rate of the brand's own.

    Args:
        first: The first row.
        last: The row after the last.
        numbers: `standard`; `raw` for years, kilometres and horsepower; `gaps` for standardised with NaN;
            `with-price` for a price left among them.
        price: `standard`; `raw` in euros; `flat` for `[batch]` instead of `[batch, 1]`; `millions` for whole
            millions of euros.
    """

    def __init__(self, first: int, last: int, numbers: str = "standard", price: str = "standard") -> None:
        generator = torch.Generator().manual_seed(6)
        count = 1500
        sizes = (BRANDS, CITIES, FUELS)
        categories = [torch.randint(size, (count,), generator=generator) for size in sizes]
        brand, city, fuel = categories
        worth, wear = 1 + torch.rand(BRANDS, generator=generator), torch.rand(BRANDS, generator=generator)
        age = 15 * torch.rand(count, generator=generator)
        kilometres = age * 12_000 * (0.5 + torch.rand(count, generator=generator))
        power = 60 + 120 * torch.rand(count, generator=generator)
        decay = (-(0.05 + 0.1 * wear[brand]) * age - kilometres / 400_000).exp()
        euros = 150 * power * worth[brand] * decay * (1 + 0.05 * city / CITIES) * (1 + 0.1 * (fuel == 2))
        table = torch.stack([2024 - age, kilometres, power], dim=1)
        standard_price = (euros - euros.mean()) / euros.std()
        if numbers != "raw":
            table = (table - table.mean(dim=0)) / table.std(dim=0)
        if numbers == "gaps":
            table[torch.rand(count, generator=generator) < 0.03, 1] = torch.nan
        if numbers == "with-price":
            table = torch.cat([table, standard_price.unsqueeze(1)], dim=1)
        columns = {"standard": standard_price, "flat": standard_price, "raw": euros}
        target = columns[price] if price in columns else (euros.int() // 1_000_000).float()
        self.columns = {
            "categories": torch.stack(categories, dim=1)[first:last],
            "numbers": table[first:last],
            "price": (target if price == "flat" else target.unsqueeze(1))[first:last],
        }

    def __len__(self) -> int:
        return len(self.columns["price"])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: column[index] for name, column in self.columns.items()}


class PriceModel(nn.Module):
    """Embeddings and numbers, concatenated, through a perceptron.

    Args:
        numbers: Numeric columns.
        plain_dict: Keeps the embeddings in a plain dict.
        forgotten: How many of the embeddings, from the last, are left out of the concatenation.
        guarded_root: Takes the roots of the hidden features that are above zero.
    """

    def __init__(
        self, numbers: int, plain_dict: bool = False, forgotten: int = 0, guarded_root: bool = False
    ) -> None:
        super().__init__()
        self.forgotten, self.guarded_root = forgotten, guarded_root
        embeddings = {
            "brand": nn.Embedding(BRANDS, 8),
            "city": nn.Embedding(CITIES, 8),
            "fuel": nn.Embedding(FUELS, 8),
        }
        self.embeddings = embeddings if plain_dict else nn.ModuleDict(embeddings)
        self.first = nn.Linear(8 * (3 - forgotten) + numbers, 64)
        self.second = nn.Linear(64, 64)
        self.head = nn.Linear(64, 1)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        """Map `[batch, 3]` codes and `[batch, numbers]` to a price `[batch, 1]`."""
        used = list(self.embeddings.values())[: 3 - self.forgotten]
        embedded = [embedding(categories[:, column]) for column, embedding in enumerate(used)]
        hidden = self.first(torch.cat([*embedded, numbers], dim=1))
        hidden = torch.where(hidden > 0, hidden.sqrt(), 0.0) if self.guarded_root else hidden.relu()
        return self.head(self.second(hidden).relu())


def price_error(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the error of a batch's prices, robust against outliers."""
    output = model(batch["categories"], batch["numbers"])
    loss = nn.functional.smooth_l1_loss(output, batch["price"])
    return {"loss": loss, "output": output, "target": batch["price"]}


def make_optimizer(
    model: PriceModel, learning_rate: float, weight_decay: float, without_embeddings: bool = False
) -> torch.optim.Optimizer:
    """Build an AdamW that decays all but the embeddings, or forgets them."""
    embeddings = list(model.embeddings.parameters()) if isinstance(model.embeddings, nn.Module) else []
    known = {id(parameter) for parameter in embeddings}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups = [{"params": others, "weight_decay": weight_decay}]
    if embeddings and not without_embeddings:
        groups.append({"params": embeddings, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=learning_rate)


def make_task(
    numbers: str = "standard",
    price: str = "standard",
    without_embeddings: bool = False,
    **network: bool | int,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    train, val = Cars(0, 1200, numbers, price), Cars(1200, 1500, numbers, price)
    return lrtune.Task(
        model=lambda: PriceModel(train.columns["numbers"].shape[1], **network),
        train=train,
        val=val,
        step=price_error,
        optimizer=functools.partial(make_optimizer, without_embeddings=without_embeddings),
    )


CASE = Case(
    name="cars-tabular",
    healthy=make_task,
    faults=(
        Fault(
            "years, kilometres and horsepower as they are",
            ("input-not-normalised",),
            functools.partial(make_task, numbers="raw"),
        ),
        Fault(
            "gaps in a numeric column",
            ("nonfinite-input",),
            functools.partial(make_task, numbers="gaps"),
        ),
        Fault(
            "the price left among the numeric columns",
            ("target-leak",),
            functools.partial(make_task, numbers="with-price"),
        ),
        Fault(
            "price in euros",
            ("target-not-normalised",),
            functools.partial(make_task, price="raw"),
        ),
        Fault(
            "price in whole millions",
            ("constant-target",),
            functools.partial(make_task, price="millions"),
        ),
        Fault(
            "price [batch] against output [batch, 1]",
            ("broadcast-target", "target-shape-mismatch"),
            functools.partial(make_task, price="flat"),
        ),
        Fault(
            "embeddings in a plain dict",
            ("unregistered-parameter",),
            functools.partial(make_task, plain_dict=True),
        ),
        Fault(
            "the last embedding not concatenated",
            ("parameter-without-gradient",),
            functools.partial(make_task, forgotten=1),
        ),
        Fault(
            "the optimizer's groups leave the embeddings out",
            ("parameter-not-in-optimizer",),
            functools.partial(make_task, without_embeddings=True),
        ),
        Fault(
            "root of negative numbers on the branch of torch.where that is not taken",
            ("nonfinite-gradient",),
            functools.partial(make_task, guarded_root=True),
        ),
    ),
)
