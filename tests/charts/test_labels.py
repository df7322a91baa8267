from __future__ import annotations

import pytest

from lrtune.charts.labels import ROW, places

WIDTH, LETTER, GAP = 560, 6.6, 6
CASES = {
    "apart": [0.1, 0.5, 0.9],
    "close at the left": [0.0, 0.01, 0.02],
    "close in the middle": [0.49, 0.5, 0.51],
    "close at the right": [0.98, 0.99, 1.0],
    "equal": [0.5, 0.5, 0.5],
    "two close": [0.2, 0.95, 0.97],
    "descending": [0.6, 0.55, 0.5],
    "one": [0.5],
    "none": [],
}


@pytest.mark.parametrize("shares", CASES.values(), ids=CASES)
def test_nothing_covers_a_label(shares: list[float]) -> None:
    """Every label has its own row, lies within the plot, and is crossed by no rule that begins above it."""
    texts = ["suggested 0.0316", "stable up to 0.1", "diverged at 0.158"][: len(shares)]
    found = places(shares, texts)
    assert sorted(place.row for place in found) == list(range(len(shares)))
    for place, share, text in zip(found, shares, texts, strict=True):
        near = share * WIDTH + GAP * place.side
        start, end = sorted((near, near + LETTER * len(text) * place.side))
        assert start >= 0
        assert end <= WIDTH
        above = [other * WIDTH for other, there in zip(shares, found, strict=True) if there.row < place.row]
        assert not [x for x in above if start <= x <= end]


def test_labels_hang_towards_the_middle() -> None:
    """Where all is free a label is on the side where there is room on a narrow page, too."""
    assert [place.side for place in places([0.1, 0.9], ["a", "b"])] == [1, -1]
    assert ROW > 11  # pixels of a letter
