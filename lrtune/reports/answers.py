"""What a step found, in one line: for `--quiet`, for a log, for the head of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.results import axes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.results import StepResult


def answer(result: StepResult) -> str:
    """Return the errors' codes of a step that failed, else what it found; empty where there is nothing to say.

    Args:
        result: Of a step or of several.
    """
    errors = [found.code for found in result.findings if found.severity == "error" and not found.follows_from]
    causes = [found.follows_from for found in result.findings if found.severity == "error"]
    named = list(dict.fromkeys([*errors, *(code for code in causes if code)]))
    if named:
        return ", ".join(named)
    tell = ANSWERS.get(result.step)
    return tell(result.summary) if tell else ""


def _initial_loss(found: Mapping[str, Any]) -> str:
    if found.get("initial_loss") is None:
        return ""
    bounds = {"from": found.get("accepted_low"), "up to": found.get("accepted_high")}
    accepted = " ".join(f"{word} {bound:.4g}" for word, bound in bounds.items() if bound is not None)
    return f"initial loss {found['initial_loss']:.4g}" + (f", accepted {accepted}" if accepted else "")


def _overfit(found: Mapping[str, Any]) -> str:
    if found.get("loss_last") is None:
        return ""
    right = "" if found.get("accuracy") is None else f", accuracy {found['accuracy']:.1%}"
    return f"loss {found['loss_last']:.3g}{right} after {found['steps']} steps"


def _rate(found: Mapping[str, Any]) -> str:
    if found.get("suggestion") is None:
        return ""
    interval = f"{found['low']:.2g} to {found['high']:.2g}"
    return f"learning rate {found['suggestion']:.2g} ({interval}), confidence {found['confidence']}"


def best_words(best: Mapping[str, Any]) -> str:
    """Return the settings of a trial in words, with its values on further axes."""
    axes = "".join(f", {name} {value}" for name, value in axes_of(best).items())
    return f"learning rate {best['lr']:.3g}, weight decay {best['weight_decay']:.3g}{axes}"


def _best(found: Mapping[str, Any]) -> str:
    best = found.get("best")
    if not best:
        return ""
    losses = [f": {word} loss {best[key]:.4g}" for word, key in _LOSSES if best.get(key) is not None]
    return best_words(best) + "".join(losses[:1])


_LOSSES = (("validation", "val_loss"), ("training", "train_loss"))

# A new step: one function above, one line here.
ANSWERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "check-init": _initial_loss,
    "overfit": _overfit,
    "find-lr": _rate,
    "coarse-grid": _best,
    "refine-grid": _best,
    "report": _best,
    "run": _best,
}
