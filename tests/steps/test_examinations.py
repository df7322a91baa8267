from __future__ import annotations

from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import pytest

from lrtune.checks.catalogue import catalogue
from lrtune.steps.examinations import EXAMINATIONS, WIRING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.steps.examining import Examination


def texts(code: CodeType) -> Iterator[str]:
    """Yield the texts that a function's code holds."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from texts(constant)
        elif isinstance(constant, str):
            yield constant


def names(code: CodeType) -> Iterator[str]:
    """Yield the names that a function's code uses."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names(constant)


def codes_in(check: Any) -> set[str]:
    """Return the catalogue's codes that a check, or what it calls of its own family, writes."""
    found = {text for text in texts(check.__code__) if text in catalogue()}
    for name in set(names(check.__code__)) - {check.__name__}:
        called = check.__globals__.get(name)
        if isinstance(called, FunctionType) and called.__module__ == check.__module__:
            found |= codes_in(called)
    return found


@pytest.mark.parametrize("examination", EXAMINATIONS, ids=lambda one: one.name)
def test_the_table_names_the_codes_that_the_checks_find(examination: Examination) -> None:
    """What an examination that was left out did not look for is known from the table alone."""
    assert set(examination.codes) == {code for check in examination.checks for code in codes_in(check)}


def test_names_are_told_apart() -> None:
    """The details tell examinations by their names."""
    assert len({one.name for one in EXAMINATIONS}) == len(EXAMINATIONS)
    assert 0 < len(WIRING) < len(EXAMINATIONS)
