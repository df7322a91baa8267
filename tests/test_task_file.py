from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lrtune import ConfigError, Task, TaskError, UserCodeError, load_task
from lrtune.task_file import load_function

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SOURCE = """\
import torch
import lrtune

def make_task(hidden: int = 3) -> lrtune.Task:
    return lrtune.Task(
        model=lambda: torch.nn.Linear(2, hidden),
        train=[torch.zeros(1, 2)],
        step=lambda model, batch: model(batch).mean(),
    )

def needy(width, depth=1): return make_task(width)
def lenient(**options): return make_task(**options)
def positional(*layers): return make_task()
def wrong(): return "a model"
def raising(): raise KeyError("boom")
number = 5
"""


@pytest.fixture(autouse=True)
def _modules_forgotten() -> Iterator[None]:
    """Forget what a test imports: files of one name come from many folders here."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds `toy.py`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.py").write_text(SOURCE)
    return tmp_path


def width_of(task: Task) -> int:
    """Return the width of the model that a task builds."""
    return int(task.model().out_features)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("toy.py:make_task", id="file"),
        pytest.param("./toy.py:make_task", id="file with a dot"),
        pytest.param("toy:make_task", id="module"),
    ],
)
def test_a_task_is_found_by_name(folder: Path, name: str) -> None:
    """A file or a module of the working directory gives the task, which knows its name and its sources."""
    task = load_task(name)
    assert isinstance(task, Task)
    assert task.name == name
    assert task.sources == (folder.resolve() / "toy.py",)


def test_a_relative_path_starts_from_the_given_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `folder` the working directory does not count; an absolute path needs neither."""
    monkeypatch.chdir("/")
    assert load_task("toy.py:make_task", folder=folder).sources == (folder.resolve() / "toy.py",)
    assert load_task(f"{folder}/toy.py:make_task").sources == (folder.resolve() / "toy.py",)


def test_a_package_of_the_folder(folder: Path) -> None:
    """`package.module:function` is imported with the working directory on the path."""
    (folder / "zoo").mkdir()
    (folder / "zoo" / "__init__.py").write_text("")
    (folder / "zoo" / "toy.py").write_text(SOURCE)
    assert width_of(load_task("zoo.toy:make_task", {"hidden": 4})) == 4


def test_arguments_reach_the_function(folder: Path) -> None:
    """`args` are the function's keyword arguments; left out, its defaults hold."""
    assert width_of(load_task("toy.py:make_task")) == 3
    assert width_of(load_task("toy.py:make_task", {"hidden": 7})) == 7
    assert width_of(load_task("toy.py:lenient", {"hidden": 5})) == 5
    assert width_of(load_task("toy.py:positional")) == 3


@pytest.mark.parametrize("where", ["at the top", "in the function"])
def test_siblings_import_as_from_a_script(folder: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task's file imports the modules beside it, whatever the working directory; they count among its sources."""
    (folder / "beside_it.py").write_text("HIDDEN = 9\n")
    at_top = "from beside_it import HIDDEN\n" if where == "at the top" else ""
    inside = "" if at_top else "    from beside_it import HIDDEN\n"
    call = f"\ndef sized():\n{inside}    return make_task(HIDDEN)\n"
    (folder / "toy.py").write_text(at_top + SOURCE + call)
    monkeypatch.chdir("/")
    task = load_task("toy.py:sized", folder=folder)
    assert width_of(task) == 9
    assert [path.name for path in task.sources] == ["beside_it.py", "toy.py"]


def test_sources_are_files_that_are_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded module that names a file which does not exist (torch.classes: `_classes.py`) is no source."""
    (folder / "project").mkdir()
    (folder / "toy.py").rename(folder / "project" / "toy.py")
    monkeypatch.chdir(folder / "project")
    sources = load_task("toy.py:make_task").sources
    assert all(path.is_file() for path in sources)


@pytest.mark.parametrize("name", ["toy.py:make_task", "toy.py:raising", "toy.py:nothing", "toy:make_task"])
def test_the_import_path_is_put_back(folder: Path, name: str) -> None:
    """Whether loading succeeds or fails, `sys.path` is as before."""
    before = list(sys.path)
    with suppress(TaskError, UserCodeError):
        load_task(name)
    assert sys.path == before


def test_a_file_may_take_its_folder_off_the_path(folder: Path) -> None:
    """User code that edits `sys.path` itself is no fault."""
    (folder / "toy.py").write_text(f"import sys\nsys.path.remove({str(folder.resolve())!r})\n" + SOURCE)
    assert width_of(load_function("toy.py:make_task", "task")()) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param(
            "toy.py", "task: expected 'path/to/file.py:function' or 'package.module:function', got", id="file"
        ),
        pytest.param("toy.py:", "task: expected 'path/to/file.py:function'", id="no function"),
        pytest.param(":make_task", "task: expected 'path/to/file.py:function'", id="no file"),
        pytest.param("toy.py:make-task", "task: expected 'path/to/file.py:function'", id="not an identifier"),
        pytest.param("", "task: expected 'path/to/file.py:function'", id="nothing"),
        pytest.param("toi.py:make_task", "task: toi.py: no such file", id="no such file"),
        pytest.param("sub/toy.py:make_task", "task: sub/toy.py: no such file", id="no such folder"),
        pytest.param(
            "toy.py:make_tsk", "task: toy.py has no function 'make_tsk'; did you mean 'make_task'?", id="typo"
        ),
        pytest.param("toy.py:zebra", "task: toy.py has no function 'zebra'", id="no such function"),
        pytest.param("toy.py:number", "task: toy.py:number is not a function but int 5", id="a number"),
        pytest.param(
            "no_such_package.tasks:f",
            "task: no module named 'no_such_package'; a file is named with",
            id="no package",
        ),
        pytest.param("toy.tasks:f", "task: no module named 'toy.tasks'", id="no submodule"),
        pytest.param(
            "toy.py:wrong",
            "toy.py:wrong: expected the function to return an lrtune.Task, got str 'a model'",
            id="text",
        ),
    ],
)
def test_a_name_that_leads_nowhere(folder: Path, name: str, said: str) -> None:
    """A TaskError says what is missing, in a line."""
    with pytest.raises(TaskError) as caught:
        load_task(name)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_folder_named_like_a_file(folder: Path) -> None:
    """A folder `x.py` is told from a file that is missing."""
    (folder / "x.py").mkdir()
    with pytest.raises(TaskError, match=r"task: x\.py: is a folder"):
        load_task("x.py:f")


def test_a_missing_file_names_the_folder_it_was_looked_for_in(folder: Path) -> None:
    """A path relative to the config's folder says so."""
    with pytest.raises(TaskError, match=r"task: no\.py \(from .*configs\): no such file"):
        load_task("no.py:f", folder=folder / "configs")


@pytest.mark.parametrize(
    ("name", "args", "said"),
    [
        pytest.param(
            "toy.py:make_task",
            {"hiden": 3},
            "args.hiden: toy.py:make_task takes no such argument; did you mean 'hidden'? (it takes: hidden)",
            id="typo",
        ),
        pytest.param(
            "toy.py:raising",
            {"x": 3},
            "args.x: toy.py:raising takes no such argument (it takes: none)",
            id="takes none",
        ),
        pytest.param(
            "toy.py:needy",
            {"depth": 3},
            "args.width: toy.py:needy needs this argument and the config gives none",
            id="missing",
        ),
        pytest.param(
            "toy.py:needy",
            {"with": 1},
            "args.with: toy.py:needy takes no such argument; did you mean 'width'? (it takes: width, depth)\n"
            "args.width: toy.py:needy needs this argument and the config gives none",
            id="both at once",
        ),
    ],
)
def test_arguments_that_do_not_fit(folder: Path, name: str, args: dict[str, Any], said: str) -> None:
    """A ConfigError names each key under `args` that is wrong or missing, before the function is called."""
    with pytest.raises(ConfigError) as caught:
        load_task(name, args)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        pytest.param("1 / 0", ZeroDivisionError, "ZeroDivisionError while importing toy.py: ", id="raises"),
        pytest.param(
            "import nowhere", ModuleNotFoundError, "ModuleNotFoundError while importing toy.py: ", id="import"
        ),
        pytest.param("def f(:", SyntaxError, "SyntaxError while importing toy.py: ", id="syntax"),
        pytest.param(
            "import sys; sys.exit(0)", SystemExit, "SystemExit while importing toy.py: 0", id="exits"
        ),
        pytest.param(SOURCE, KeyError, "KeyError while calling toy.py:raising: 'boom'", id="function raises"),
    ],
)
def test_code_that_raises(folder: Path, source: str, kind: type[BaseException], said: str) -> None:
    """What the user's code raises is a UserCodeError with the original as its cause, and leaves no half module."""
    (folder / "toy.py").write_text(source)
    with pytest.raises(UserCodeError) as caught:
        load_task("toy.py:raising")
    assert str(caught.value).startswith(said)
    assert type(caught.value.__cause__) is kind
    assert ("toy" in sys.modules) == (source == SOURCE)


def test_a_package_that_misses_another_is_the_users_fault(folder: Path) -> None:
    """A module that is there but imports one that is not raises UserCodeError, not "no module named" the task."""
    (folder / "toy.py").write_text("import nowhere_at_all\n")
    with pytest.raises(
        UserCodeError, match="ModuleNotFoundError while importing toy: No module named 'nowhere_at"
    ):
        load_task("toy:make_task")


@pytest.mark.parametrize("stem", ["random", "colorsys", "torch", "lrtune"])
def test_a_file_named_like_another_module(folder: Path, stem: str) -> None:
    """A task file called random.py takes no module's place, loaded or not, and the module stays importable."""
    before = sys.modules.get(stem)
    (folder / "toy.py").rename(folder / f"{stem}.py")
    source = folder / f"{stem}.py"
    source.write_text(SOURCE.replace("import torch\nimport lrtune\n", "import sys\nimport lrtune, torch\n"))
    if stem in ("torch", "lrtune"):
        assert stem in sys.modules
    assert width_of(load_task(f"{stem}.py:make_task")) == 3
    assert sys.modules.get(stem) is before
    __import__(stem)
    assert Path(sys.modules[stem].__file__ or "").parent != folder


def test_two_files_of_one_name(folder: Path) -> None:
    """Files `toy.py` of two folders are two modules."""
    (folder / "other").mkdir()
    (folder / "other" / "toy.py").write_text(SOURCE.replace("hidden: int = 3", "hidden: int = 8"))
    assert width_of(load_task("toy.py:make_task")) == 3
    assert width_of(load_task("other/toy.py:make_task")) == 8
    assert width_of(load_task("toy.py:make_task")) == 3


def test_an_edited_file_is_read_again(folder: Path) -> None:
    """Loading a second time, as a notebook does, runs the file as it is now."""
    assert width_of(load_task("toy.py:make_task")) == 3
    (folder / "toy.py").write_text(SOURCE.replace("hidden: int = 3", "hidden: int = 44"))
    assert width_of(load_task("toy.py:make_task")) == 44


def test_classes_of_a_task_file_are_found_by_their_module(folder: Path) -> None:
    """The file's module is registered, so that dataclasses and a DataLoader's workers find its classes."""
    extra = "\nfrom dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int = 0\n"
    (folder / "toy.py").write_text(SOURCE + extra)
    make_task: Callable[..., Any] = load_function("toy.py:make_task", "task")
    assert sys.modules[make_task.__module__].Point(3).x == 3


def test_the_role_is_named(folder: Path) -> None:
    """Messages of an optimizer's name say `optimizer`."""
    with pytest.raises(TaskError, match=r"^optimizer: toy\.py has no function 'zebra'"):
        load_function("toy.py:zebra", "optimizer")
