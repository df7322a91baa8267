"""Two runs side by side: what changed in the settings, and what changed in the results."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lrtune.charts.numbers import number
from lrtune.reports.content import Content, content, in_order
from lrtune.results import SCHEMA, STEPS, VERDICTS, jsonable
from lrtune.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.results import Finding, StepResult

# Of what a result was made from: digests, which tell only whether something changed, in words.
_DIGESTS = {"source": "the task's source", "optimizer_source": "the optimizer's source"}
STATES = ("appeared", "vanished", "stayed")  # of a finding from the first run to the second
_NO_NUMBERS = ("best", "trials", "html")


@dataclass(frozen=True)
class Run:
    """One of the two.

    Attributes:
        name: Its directory, as it was given.
        results: By step.
        context: See `lrtune.reports.html.render`.
        made_from: By step: what each result was made from.
    """

    name: str
    results: Mapping[str, StepResult]
    context: Mapping[str, Any]
    made_from: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Change:
    """Something that is one thing in the first run and another in the second.

    Attributes:
        name: What it is.
        a: In the first; None where it has none.
        b: In the second.
    """

    name: str
    a: Any
    b: Any

    @property
    def texts(self) -> tuple[str, str]:
        """Both values as a person reads them."""
        return _shown(self.a), _shown(self.b)


@dataclass(frozen=True)
class FindingChange:
    """A finding of either run.

    Attributes:
        step: Whose it is.
        code: Its code.
        severity: In the second run, where it is there.
        state: `appeared`, `vanished` or `stayed`.
        a: Its message in the first run, None where it is not there.
        b: The same in the second.
    """

    step: str
    code: str
    severity: str
    state: str
    a: str | None
    b: str | None


@dataclass(frozen=True)
class Comparison:
    """What two runs have in common and where they differ.

    Attributes:
        a: The first run's name.
        b: The second's.
        settings: Settings and circumstances that differ.
        verdicts: Of all steps, changed or not.
        findings: Appeared first, then vanished, then stayed.
        numbers: What the steps measured, where it differs, with its step.
        answers: The first run's content of a report, and the second's.
        best: Both best trials, None where there is none.
    """

    a: str
    b: str
    settings: list[Change]
    verdicts: list[Change]
    findings: list[FindingChange]
    numbers: list[tuple[str, Change]]
    answers: tuple[Content, Content]
    best: tuple[dict[str, Any] | None, dict[str, Any] | None]

    @property
    def answer_lines(self) -> list[Change]:
        """Best settings and what they reach, of both."""
        one, two = self.answers
        return [
            Change("best settings", one.settings, two.settings),
            Change("they reach", one.reaches, two.reaches),
            Change("verdict", one.state, two.state),
        ]

    @property
    def news(self) -> list[FindingChange]:
        """The findings that only one of the runs has."""
        return [change for change in self.findings if change.state != "stayed"]

    def to_dict(self, seconds: float = 0.0) -> dict[str, Any]:
        """Return the JSON object that `lrtune report A B --json` prints.

        It has the keys of every result: a comparison passes whatever the two runs hold, has no findings of its own and
        is kept in no run directory.

        Args:
            seconds: Wall-clock time that it took.
        """
        numbers = [{"step": step, **asdict(change)} for step, change in self.numbers]
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "lrtune": __version__,
            "step": "compare",
            "verdict": VERDICTS["info"],
            "seconds": round(seconds, 3),
            "run_dir": None,
            "findings": [],
            "summary": {state: sum(one.state == state for one in self.findings) for state in STATES},
            "a": self.a,
            "b": self.b,
            "settings": [asdict(change) for change in self.settings],
            "verdicts": [{"step": one.name, "a": one.a, "b": one.b} for one in self.verdicts],
            "compared": [asdict(change) for change in self.findings],
            "numbers": numbers,
            "best": {"a": self.best[0], "b": self.best[1]},
        }
        return {key: jsonable(value) for key, value in found.items()}


def compare(a: Run, b: Run) -> Comparison:
    """Set two runs side by side."""
    both = in_order(a.results), in_order(b.results)
    answers = content(a.results, a.context), content(b.results, b.context)
    return Comparison(
        a=a.name,
        b=b.name,
        settings=_changed(_settings(a), _settings(b)) + _circumstances(*both),
        verdicts=[Change(step, *(_verdict(results, step) for results in both)) for step in STEPS],
        findings=_findings(*both),
        numbers=[
            (step, change)
            for step in STEPS
            if step in both[0] and step in both[1]
            for change in _changed(_numbers(both[0][step]), _numbers(both[1][step]))
        ],
        answers=answers,
        best=(answers[0].best, answers[1].best),
    )


def _verdict(results: Mapping[str, StepResult], step: str) -> str | None:
    return results[step].verdict if step in results else None


def _changed(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    names = list(dict.fromkeys([*a, *b]))
    return [
        Change(name, a.get(name), b.get(name))
        for name in names
        if a.get(name) != b.get(name)
        and (a.get(name) or b.get(name))  # {}, [] and absent are the same to a reader
    ]


def _settings(run: Run) -> dict[str, Any]:
    """Return what a run was made from, by the settings' dotted names; of a file's digest its first digits."""
    found: dict[str, Any] = {}
    for parts in run.made_from.values():
        for key, value in parts.items():
            if key in _DIGESTS:
                found[_DIGESTS[key]] = str(value)[-8:]
            elif key not in STEPS:  # the fingerprint of an input says nothing that its own step does not
                found |= _flat(key, value)
    return found


def _circumstances(a: Mapping[str, StepResult], b: Mapping[str, StepResult]) -> list[Change]:
    """Return the versions and machines that differ, where both runs have kept theirs."""
    one, two = _environment(a), _environment(b)
    return [change for change in _changed(one, two) if change.a is not None and change.b is not None]


def _environment(results: Mapping[str, StepResult]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for result in results.values():
        how = result.details.get("environment") or {}
        found |= {name: version for name, version in (how.get("versions") or {}).items() if name != "lrtune"}
        found |= {"machine": how["machine"]} if how.get("machine") else {}
    return found


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {
            key: one for inner, item in value.items() for key, one in _flat(f"{name}.{inner}", item).items()
        }
    return {name: value}


def _numbers(result: StepResult) -> dict[str, Any]:
    """Return a step's summary, what has parts by its parts, and the time."""
    found: dict[str, Any] = {}
    for key, value in result.summary.items():
        found |= _flat(key, value) if key not in _NO_NUMBERS else {}
    best = result.summary.get("best") or {}
    for key in best if result.step != "report" else ():  # which says again what the grids have said
        found |= _flat(f"best.{key}", best[key]) if key != "curve" else {}
    return {**found, "seconds": round(result.seconds, 3)}


def _findings(a: Mapping[str, StepResult], b: Mapping[str, StepResult]) -> list[FindingChange]:
    """Return every finding once; those of the same code and step in both runs have stayed, in their order."""
    changes = []
    for step in STEPS:
        before, after = _by_code(a.get(step)), _by_code(b.get(step))
        for key in dict.fromkeys([*after, *before]):
            old, new = before.get(key), after.get(key)
            state = "stayed" if old and new else "appeared" if new else "vanished"
            severity = (new or old).severity  # type: ignore[union-attr]
            said = old.message if old else None, new.message if new else None
            changes.append(FindingChange(step, key[0], severity, state, *said))
    return sorted(changes, key=lambda change: STATES.index(change.state))


def _by_code(result: StepResult | None) -> dict[tuple[str, int], Finding]:
    """Return findings by code, the second of the same code with number 1 and so on."""
    found: dict[tuple[str, int], Finding] = {}
    for one in result.findings if result else ():
        count = sum(code == one.code for code, _ in found)
        found[one.code, count] = one
    return found


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value)
    return number(value, 4)
