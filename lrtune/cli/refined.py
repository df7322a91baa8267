"""What a refined search says of itself besides its trials: the winner over seeds, ranges moved, what was left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.cli.blocks import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.results import StepResult


def search_facts(result: StepResult) -> list[tuple[str, str]]:
    """Return names with texts, one a line; none where there is nothing to say."""
    facts = []
    repeats = result.summary.get("repeats")
    if repeats and repeats.get("gain") is not None:
        count = len(repeats["seeds"])
        facts += [(f"{kind}, {count} seeds", _spread(repeats[kind])) for kind in ("refined", "coarse")]
        facts.append(("taken", _taken(repeats["gain"])))
    rounds = result.details.get("rounds") or []
    facts += [("moved", why) for why in (rounds[-1]["moved"] if rounds else [])]
    if result.details.get("left_out"):
        facts.append(("left out", str(result.details["left_out"])))
    return facts


def _taken(gain: float) -> str:
    if gain > 0:
        return "the refined setting: its mean over the seeds is lower"
    return "the coarse setting, as trained here: its mean over the seeds is as low or lower"


def _spread(found: Mapping[str, Any]) -> str:
    spread = "" if found.get("spread") is None else f" ± {found['spread']:.2g}"
    return f"loss {number(found['mean'])}{spread}   (mean ± standard deviation)"
