"""`lrtune worker CONFIG`: train what is left of the grids that another process leads."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lrtune.cli.opened import open_task, read_config
from lrtune.cli.options import Common, ConfigArgument
from lrtune.cli.output import show
from lrtune.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.results import StepResult


def command(
    config: ConfigArgument,
    common: Common,
    wait: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0, help="How long to wait for a study that is not there yet."),
    ] = 300.0,
) -> int:
    """Join steps 4 and 5 of another process that shares its storage; needs storage: in CONFIG, or OPTUNA_STORAGE."""
    if common.plot is not None:
        raise UsageError("worker: --plot: a worker has no chart; lrtune grid, which leads, draws one")
    return show(lambda: _work(config, common, wait), common)


def _work(config_argument: str, common: Common, wait: float) -> StepResult:
    config, _ = read_config(config_argument, common)
    from lrtune.storage import storage_of
    from lrtune.study.opening import check_shared  # before the task is loaded, which may take long
    from lrtune.study.place import StudyPlace

    if config.task is None:
        raise UsageError("worker: CONFIG names no task")
    check_shared(StudyPlace(None, "", storage_of(config.storage)))
    with _ending_in_good_order():
        opened = open_task(config_argument, common)
        from lrtune.worker import Worker

        return Worker(opened.task, opened.config, opened.progress, opened.folder, wait).run()


@contextmanager
def _ending_in_good_order() -> Iterator[None]:
    """What Slurm and Kubernetes send before they kill: the trials in training are given back, as after Ctrl-C."""
    before = signal.signal(signal.SIGTERM, _interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt
