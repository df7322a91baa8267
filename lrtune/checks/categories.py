"""Checks of categories: what a model is told of by index or by one-hot rows differs between examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.words import in_model

if TYPE_CHECKING:
    from lrtune.probes.data.categories import Categories
    from lrtune.probes.data.inputs import Inputs
    from lrtune.results import Finding

_FEW_EXAMPLES = 64  # and rows: fewer say little
_FEWEST_TABLES = 2  # of embeddings: one alone may be asked for the same row by design
_FEWEST_KINDS = 3  # of a one-hot row; a column of ones stands for nodes without features
_MOST_KINDS = 10  # from which a table that has lost its columns is told as such


def constant_categories(seen: Categories) -> Finding | None:
    """Some table of embeddings is asked for more than one row.

    A single table may be asked for one row by design: that of the task, the language or the start of a sequence.
    """
    if len(seen.constant) < max(_FEWEST_TABLES, seen.tables) or seen.lookups < _FEW_EXAMPLES:
        return None
    rows = ", ".join(f"{row} of model.{name}" for name, row in seen.constant.items())
    message = (
        f"Every example has the same categories: each of the {seen.tables} tables of embeddings is asked for one "
        f"row only ({rows})."
    )
    fix = "Look up a few words by hand: all are likely unknown (blanks, another case, another vocabulary)."
    return finding("constant-input", message, seen.tables, "rows that differ", fix)


def one_kind(seen: Inputs) -> Finding | None:
    """Rows that name one kind of several do not all name the same; other numbers beside them would be inputs, too."""
    columns = seen.columns
    if columns is None or seen.alike or seen.numbers_vary or seen.examples < _FEW_EXAMPLES:
        return None
    if not _FEWEST_KINDS <= columns.total < _MOST_KINDS or any(columns.span):
        return None
    if sorted(columns.mean) != [0.0] * (columns.total - 1) + [1.0]:
        return None
    message = (
        f"Every row that the first layer, {in_model(columns.layer)} ({columns.kind}), receives is of the same kind, "
        f"{columns.mean.index(1.0)} of {columns.total}."
    )
    fix = "Look at what the kinds are looked up in: the prevailing one is likely that of unknown names."
    return finding("constant-input", message, 1.0, "rows that differ", fix)
