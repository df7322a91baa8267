"""The files of step 6: the page, and the found settings for the user's own script."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import yaml

from lrtune.reports import html
from lrtune.reports.settings import axis_places, other_axes, trained_with
from lrtune.results import jsonable
from lrtune.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.results import StepResult
    from lrtune.run_dir import RunDir


def write_report(run_dir: RunDir, results: Mapping[str, StepResult], context: Mapping[str, Any]) -> str:
    """Write `report.html`, and `best.yaml` where there is a best setting; return the page's path.

    Args:
        run_dir: Where to.
        results: By step; those missing are said not to have been run.
        context: See `lrtune.reports.html.render`; the time and the version are added here.
    """
    page = html.render(results, title_of(context), page_context(context))
    run_dir.write("report.html", page)
    best = results["report"].summary.get("best")
    if best is not None:
        run_dir.write("best.yaml", best_yaml(best, results, context))
    else:
        run_dir.remove("best.yaml")
    return str(run_dir.path / "report.html")


def title_of(context: Mapping[str, Any]) -> str:
    """Return the heading: the task's name without its folders."""
    return str(context.get("task") or "task").rpartition("/")[2]


def page_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the context with the time, the version and the settings as YAML added."""
    now = datetime.now().astimezone().isoformat(" ", "seconds")
    config = context.get("config") or {}
    settings = yaml.safe_dump(jsonable(config), sort_keys=False) if config else None
    return {"created": now, **context, "version": __version__, "config_yaml": settings}


def best_yaml(best: Mapping[str, Any], results: Mapping[str, StepResult], context: Mapping[str, Any]) -> str:
    """Return the found settings as YAML that a training script can load.

    Args:
        best: The best trial.
        results: By step, for where the trial comes from.
        context: Holds `optimizer`, `batch_size`, `own_optimizer` and `task`.
    """
    grid = next(step for step in ("refine-grid", "coarse-grid") if _holds(results.get(step), best))
    named, places = context.get("optimizer") or {}, axis_places(results)
    optimizer = {} if context.get("own_optimizer") else {"optimizer": trained_with(named, best, places)}
    values = {
        "learning_rate": best["lr"],
        "weight_decay": best["weight_decay"],
        **optimizer,
        **_batch_size(context),
        **other_axes(named, best, places),
        "epochs": results[grid].details.get("epochs"),
        "seed": best["seed"],
        "val_loss": best["val_loss"],
        "train_loss": best["train_loss"],
        "metrics": best["metrics"],
    }
    unfinished = ", which was not finished" if grid in (context.get("unfinished") or ()) else ""
    head = f"# Found by lrtune {__version__} ({grid}{unfinished}) for {context.get('task')}\n"
    text = yaml.safe_dump(jsonable(values), sort_keys=False)
    if context.get("batches"):
        text = re.sub(r"^batch_size: .*$", r"\g<0>  # the DataLoader's own", text, flags=re.MULTILINE)
    return head + text


def _batch_size(context: Mapping[str, Any]) -> dict[str, Any]:
    """Return the size of the training batches; nothing where the data bring batches of a size that is not known."""
    batches = context.get("batches")
    if batches is None:
        return {"batch_size": context.get("batch_size")}
    return {"batch_size": batches["size"]} if batches.get("size") else {}


def _holds(result: StepResult | None, best: Mapping[str, Any]) -> bool:
    return result is not None and result.summary.get("best") == best
