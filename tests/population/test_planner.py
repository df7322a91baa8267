from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import CPU, Notes, blob_task, blobs, mlp, program_of
from torch import Tensor, nn

from lrtune.config import PopulationConfig
from lrtune.data.source import open_data
from lrtune.plan_file import PlanFile
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.planner import Plan, Planner
from lrtune.population.plans import as_values, key_of
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent
from lrtune.run_dir import RunDir

if TYPE_CHECKING:
    from pathlib import Path

    import lrtune

MEMBERS = [Member(rate, 1e-4) for rate in (0.01, 0.03, 0.1, 0.3)]
LONG = 10**7  # steps: any saving is worth planning


def planner(task: lrtune.Task, **settings: Any) -> Planner:
    """A planner whose notes nobody reads."""
    return Planner(program_of(task), PopulationConfig(**settings))


def train(task: lrtune.Task) -> Any:
    """The task's training batches."""
    return open_data(task, 16, 0, CPU, Silent()).train


class Counting(nn.Module):
    """Adds how often it was called to its output: an attribute that all members of one program would share."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, ever larger."""
        self.calls += 1
        output: Tensor = self.net(inputs)
        return output + self.calls * output.mean()


@pytest.mark.parametrize(
    ("settings", "execution"),
    [({"execution": "serial"}, SerialPopulation), ({"execution": "fused"}, FusedPopulation)],
)
def test_what_is_set_is_done(settings: dict[str, Any], execution: type) -> None:
    """A user's choice holds, however short the training."""
    task = blob_task()
    population = planner(task, **settings).population(MEMBERS, train(task), {}, steps=1)
    assert isinstance(population, execution)


def test_both_give_the_same_numbers() -> None:
    """Four members over 40 steps: losses within 1e-4 of each other, whichever execution trains them."""
    task = blob_task()
    losses = [
        planner(task, execution=name).population(MEMBERS, train(task), {}, steps=40).advance(40)
        for name in ("serial", "fused")
    ]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def test_too_short_to_plan() -> None:
    """A training of a moment is not planned, and a later one may still be."""
    task = blob_task()
    chooser = planner(task)
    assert chooser.plan(MEMBERS, train(task), steps=2).reason == "too short to be worth planning"
    assert chooser.plan(MEMBERS, train(task), steps=LONG).reason != "too short to be worth planning"


def test_one_member_needs_no_plan() -> None:
    """Alone there is nothing to fuse."""
    task = blob_task()
    assert planner(task).plan(MEMBERS[:1], train(task), LONG).execution == "serial"


@pytest.mark.parametrize("execution", ["auto", "fused"])
def test_a_model_that_cannot_be_fused(execution: str) -> None:
    """The preflight's reason is kept and told, and training goes on one by one, with the right numbers."""
    task = blob_task(model=Counting)
    chooser = planner(task, execution=execution)
    plan = chooser.plan(MEMBERS, train(task), LONG)
    assert plan.execution == "serial"
    assert "calls" in plan.reason
    assert isinstance(chooser.population(MEMBERS, train(task), {}, LONG), SerialPopulation)


def test_the_choice_is_told_once() -> None:
    """One line says what was chosen; asked again, the planner neither measures nor tells."""
    task = blob_task()
    notes = Notes()
    chooser = Planner(program_of(task), PopulationConfig(), notes)
    first = chooser.plan(MEMBERS, train(task), LONG)
    assert chooser.plan(MEMBERS, train(task), LONG) is first
    assert notes.notes == [f"4 members {first.words}"]


def test_the_choice_is_remembered(tmp_path: Path) -> None:
    """Another planner of the same program takes it over from the run directory; one of another program does not."""
    task = blob_task()
    file = PlanFile(RunDir(tmp_path), {"task": "one"})
    first = Planner(program_of(task), PopulationConfig(), known=file.read(), remember=file.write)
    chosen = first.plan(MEMBERS, train(task), LONG)
    again = Planner(program_of(task), PopulationConfig(), known=file.read())
    assert again.plan(MEMBERS, train(task), 1) == chosen
    assert PlanFile(RunDir(tmp_path), {"task": "another"}).read() == {}


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"program": 1}', '{"known": {"plans": {"4": {"execution": "fused", "warp": 9}}}}'],
    ids=["empty", "cut off", "a list", "no plan", "of another version"],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    """Whatever stands there, the planner measures anew."""
    (tmp_path / "population.json").write_text(text)
    task = blob_task()
    known = PlanFile(RunDir(tmp_path), {}).read()
    assert isinstance(
        Planner(program_of(task), PopulationConfig(), known=known).plan(MEMBERS, train(task), LONG), Plan
    )


def test_groups_of_a_fused_program() -> None:
    """A fused program takes all members at once, or as many as set."""
    task = blob_task(train=blobs())
    for most, size in ((None, 4), (3, 3)):
        chooser = planner(task, execution="fused", members=most)
        assert chooser.group_size(MEMBERS, train(task), steps=1) == size


def test_out_of_memory_halves_the_group() -> None:
    """A program that holds at most two members at a time trains all four, and says so."""
    from lrtune.population.training import train_members

    class Small(Planner):
        def population(self, members: Any, *arguments: Any, **keywords: Any) -> Any:
            if len(members) > 2:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return super().population(members, *arguments, **keywords)

    task = blob_task()
    notes = Notes()
    small = Small(program_of(task), PopulationConfig(execution="fused"), notes)
    data = open_data(task, 16, 0, CPU, Silent())
    runs = list(train_members(small, MEMBERS, data, epochs=1))
    assert sorted(run.member.learning_rate for run in runs) == [member.learning_rate for member in MEMBERS]
    assert "out of memory: training 2 members at a time" in notes.notes


class Pool:
    """Workers that nobody asks for anything."""

    size = 2
    reads_again = False

    def __init__(self, refused: str | None = None, lost: bool = False) -> None:
        self.refused, self.lost = refused, lost


REMEMBERED = {
    "4": {"execution": "sharded", "traced": False, "reason": "fast", "workers": 2, "nested": "serial"}
}


def test_a_remembered_plan_with_workers() -> None:
    """It is taken over where there are workers, and measured anew where there are none."""
    task = blob_task()
    for pool, execution in ((Pool(), "sharded"), (Pool("no fork"), "fused"), (None, "fused")):
        chooser = Planner(program_of(task), PopulationConfig(), known=REMEMBERED, pool=pool)  # type: ignore[arg-type]
        plan = chooser.plan(MEMBERS, train(task), LONG)
        assert (plan.execution == "sharded") == (execution == "sharded")
        assert (plan.reason == "fast") == (execution == "sharded")


def test_a_group_is_trained_as_the_whole() -> None:
    """Members of a larger set are planned as that set is, whatever their number; nothing is measured for them."""
    task = blob_task()
    chooser = Planner(program_of(task), PopulationConfig(), known=REMEMBERED, pool=Pool())  # type: ignore[arg-type]
    whole = chooser.plan(MEMBERS, train(task), LONG)
    for part in (MEMBERS[:2], MEMBERS[:1]):
        assert chooser.plan(part, train(task), LONG, of=4) is whole
    assert chooser.plan(MEMBERS[:3], train(task), LONG, of=9).execution == "serial"


@pytest.mark.parametrize(
    ("pool", "settings", "execution"),
    [
        (Pool(), {}, "serial"),
        (Pool(lost=True), {}, "sharded"),
        (Pool(lost=True), {"execution": "serial"}, "serial"),
        (Pool(), {"execution": "sharded"}, "sharded"),
        (Pool("no fork"), {"execution": "sharded"}, "serial"),
        (None, {"execution": "sharded"}, "serial"),
    ],
    ids=["usual", "workers were lost", "serial is set", "sharded is set", "refused", "no workers"],
)
def test_a_lone_member(pool: Pool | None, settings: dict[str, Any], execution: str) -> None:
    """One member is trained here, but in a worker where that is set, or where workers died of what it may be."""
    task = blob_task()
    chooser = Planner(program_of(task), PopulationConfig(**settings), pool=pool)  # type: ignore[arg-type]
    assert chooser.plan(MEMBERS[:1], train(task), LONG).execution == execution


def test_a_plan_with_channels_last() -> None:
    """What a remembered plan says of the order in memory is how the models lie."""
    task = blob_task(
        model=lambda: nn.Sequential(
            nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 8, 1), nn.Conv2d(8, 4, 2), nn.Flatten(), nn.Linear(4, 3)
        )
    )
    for channels_last in (True, False):
        plan = Plan("serial", False, "so", channels_last=channels_last)
        known = as_values({key_of(len(MEMBERS), several=False): plan})
        chooser = Planner(program_of(task), PopulationConfig(), known=known)
        population = chooser.population(MEMBERS, train(task), {}, LONG)
        assert isinstance(population, SerialPopulation)
        weight = dict(population._slots[0].model.named_parameters())["2.weight"]
        assert weight.is_contiguous(memory_format=torch.channels_last) is channels_last
