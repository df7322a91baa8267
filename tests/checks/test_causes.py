from __future__ import annotations

from dataclasses import replace

import pytest

from lrtune.checks.catalogue import FAMILIES, catalogue, finding
from lrtune.checks.causes import cause_first
from lrtune.results import STEPS


def told(*codes: str) -> list[tuple[str, str | None]]:
    """Findings of these codes, ordered: each code with what it follows from."""
    return [(one.code, one.follows_from) for one in cause_first(finding(code, "Seen.") for code in codes)]


def test_the_catalogue_has_every_step() -> None:
    """Texts are kept by step, in the recipe's order, and those of the pipeline's command after them."""
    assert tuple(FAMILIES) == (*STEPS, "check")


def test_explanations_name_codes_and_come_to_an_end() -> None:
    """Every explained code exists, none explains itself, and no chain of causes goes in a circle."""
    entries = catalogue()
    for entry in entries.values():
        assert set(entry.explains) <= set(entries) - {entry.code}

    def depth(code: str, path: tuple[str, ...]) -> int:
        assert code not in path, path
        return 1 + max((depth(next_, (*path, code)) for next_ in entries[code].explains), default=0)

    assert max(depth(code, ()) for code in entries) >= 2


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(["cannot-overfit"], [("cannot-overfit", None)], id="a symptom alone"),
        pytest.param(
            ["cannot-overfit", "double-softmax"],
            [("double-softmax", None), ("cannot-overfit", "double-softmax")],
            id="the cause comes first",
        ),
        pytest.param(
            ["nonfinite-gradient", "expectation-unknown", "nonfinite-loss"],
            [
                ("nonfinite-loss", None),
                ("nonfinite-gradient", "nonfinite-loss"),
                ("expectation-unknown", None),
            ],
            id="an error before an info",
        ),
        pytest.param(
            ["cannot-overfit", "never-diverged", "frozen-model"],
            [("frozen-model", None), ("cannot-overfit", None), ("never-diverged", None)],
            id="unrelated ones by severity",
        ),
    ],
)
def test_order(codes: list[str], expected: list[tuple[str, str | None]]) -> None:
    """Causes stand first, symptoms under them, and the rest by severity."""
    assert told(*codes) == expected


def test_every_finding_is_kept_as_it_was() -> None:
    """Ordering loses nothing and changes nothing but the cause; two findings of one code stay together."""
    given = [
        finding("cannot-overfit", "One."),
        finding("double-softmax", "Two."),
        finding("double-softmax", "Three."),
    ]
    ordered = cause_first(given)
    assert [one.message for one in ordered] == ["Two.", "Three.", "One."]
    assert {replace(one, follows_from=None) for one in ordered} == set(given)


def test_only_a_symptom_says_what_it_follows_from() -> None:
    """The JSON object of an ordinary finding has the keys that it always had."""
    cause, symptom = cause_first([finding("cannot-overfit", "One."), finding("double-softmax", "Two.")])
    plain = {"code", "severity", "message", "measured", "expected", "fix", "source"}
    assert set(cause.to_dict()) == plain
    assert set(symptom.to_dict()) == plain | {"follows_from"}


def test_a_finding_may_explain_less_than_its_code() -> None:
    """A cause that this time is too small for a symptom leaves it to stand for itself."""
    small = replace(finding("input-not-normalised", "One column."), explains=())
    ordered = cause_first([small, finding("initial-loss-high", "Large.")])
    assert [(one.code, one.follows_from) for one in ordered] == [
        ("initial-loss-high", None),
        ("input-not-normalised", None),
    ]
    assert "explains" not in small.to_dict()
