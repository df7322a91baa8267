from __future__ import annotations

from typing import Any

import pytest
from programs import blob_task
from torch.utils.data import DataLoader

from lrtune.provenance import own_batches
from lrtune.reports.files import best_yaml
from lrtune.results import StepResult

BEST = {"lr": 0.1, "weight_decay": 0.0, "seed": 0, "val_loss": 1.0, "train_loss": 1.0, "metrics": {}}


@pytest.mark.parametrize(
    ("train", "line"),
    [
        pytest.param(lambda data: data, "batch_size: 64", id="dataset"),
        pytest.param(
            lambda data: DataLoader(data, 50), "batch_size: 50  # the DataLoader's own", id="loader"
        ),
        pytest.param(lambda data: [data[0], data[1]], None, id="batches"),
    ],
)
def test_best_yaml_names_the_batch_size_that_was_used(train: Any, line: str | None) -> None:
    """That of the config for a Dataset, a DataLoader's own with a remark, none for batches of any size."""
    context = {"batch_size": 64, "batches": own_batches(train(blob_task().train))}
    grid = StepResult("coarse-grid", summary={"best": BEST, "trials": [BEST]})
    lines = best_yaml(BEST, {"coarse-grid": grid}, context).splitlines()
    assert [text for text in lines if text.startswith("batch_size")] == ([line] if line else [])
