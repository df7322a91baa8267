"""How tasks and optimizers are found by name: `path/to/file.py:function` or `package.module:function`.

The only place that imports the user's code.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtune.errors import ConfigError, TaskError, did_you_mean, user_code
from lrtune.sources import local_sources
from lrtune.task import Task, described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import ModuleType


def load_task(name: str, args: Mapping[str, Any] | None = None, folder: str | Path | None = None) -> Task:
    """Load the task named `file.py:function` or `package.module:function`.

    Args:
        name: Where the function that makes the task is.
        args: Its keyword arguments.
        folder: What a relative file path starts from; the working directory when None.

    Raises:
        TaskError: If there is no such file, module or function, or it returns something other than a `Task`.
        ConfigError: If the function does not take these arguments.
        UserCodeError: If the user's code raises.
    """
    with on_import_path(folder_of(name, folder)):
        make_task = load_function(name, "task", folder)
        _check_arguments(make_task, name, args or {})
        with user_code(f"calling {name}"):
            task = make_task(**(args or {}))
    if not isinstance(task, Task):
        raise TaskError(f"{name}: expected the function to return an lrtune.Task, got {described(task)}")
    object.__setattr__(task, "name", name)
    object.__setattr__(task, "sources", sources_of(make_task))
    return task


def sources_of(function: Callable[..., Any]) -> tuple[Path, ...]:
    """Return the files that a function loaded by name is made of, its own and those it imports."""
    plain = inspect.unwrap(function)
    return local_sources(Path(inspect.getfile(plain)), plain.__module__)


def optimizer_sources(task: Task, named: str, folder: str | Path | None) -> tuple[Path, ...]:
    """Return the source files of an optimizer that the settings name by file; none where the task brings its own."""
    if ":" not in named or task.optimizer is not None:
        return ()
    return sources_of(load_function(named, "optimizer", folder))


def load_function(name: str, role: str, folder: str | Path | None = None) -> Callable[..., Any]:
    """Import the function that `name` stands for; `role` ("task", "optimizer") is for the messages.

    Raises:
        TaskError: If there is no such file, module or function.
        UserCodeError: If importing it raises.
    """
    place, colon, function_name = name.rpartition(":")
    if not colon or not place or not function_name.isidentifier():
        raise TaskError(
            f"{role}: expected 'path/to/file.py:function' or 'package.module:function', got {name!r}"
        )
    with on_import_path(folder_of(name, folder)):
        module = _from_file(place, role, folder) if place.endswith(".py") else _from_package(place, role)
    function = getattr(module, function_name, None)
    if function is None:
        functions = [
            key for key, value in vars(module).items() if callable(value) and not key.startswith("_")
        ]
        raise TaskError(
            f"{role}: {place} has no function '{function_name}'{did_you_mean(function_name, functions)}"
        )
    if not callable(function):
        raise TaskError(f"{role}: {name} is not a function but {described(function)}")
    return function  # type: ignore[no-any-return]


def short_name(task_name: str) -> str:
    """Return a short name of a task: `digits_mlp` for `examples/digits_mlp.py:make_task`."""
    place, _, function = task_name.rpartition(":")
    stem = Path(place).stem if place.endswith(".py") else place.rpartition(".")[2]
    if not stem:
        return function
    return stem if function == "make_task" else f"{stem}-{function}"


def folder_of(name: str, folder: str | Path | None) -> Path:
    """Return the folder that is importable while the code behind `name` loads."""
    place = name.rpartition(":")[0]
    start = Path(folder or ".")
    return (start / place).parent.resolve() if place.endswith(".py") else start.resolve()


@contextmanager
def on_import_path(folder: Path) -> Iterator[None]:
    """Make the modules of a folder importable inside the block."""
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code has taken it out itself
            sys.path.remove(entry)


def _from_file(place: str, role: str, folder: str | Path | None) -> ModuleType:
    path = (Path(folder or ".") / place).resolve()
    if not path.is_file():
        shown = place if folder is None else f"{place} (from {folder})"
        problem = "is a folder" if path.is_dir() else "no such file"
        raise TaskError(f"{role}: {shown}: {problem}")
    loaded = sys.modules.get(path.stem)
    if path.stem in sys.stdlib_module_names or (loaded is not None and _file_of(loaded) != path):
        # The plain name belongs to another module (a task file called random.py, say).
        module_name = f"lrtune_{role}_{path.stem}_{abs(hash(path)):x}"
    else:
        module_name = path.stem
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses and pickling look a class's module up by name
    try:
        with user_code(f"importing {place}"):
            spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(module_name, None)
        raise
    return module


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    # A module may name a file that is not there: torch.classes says "_classes.py".
    path = Path(file).resolve() if file else None
    return path if path is not None and path.is_file() else None


def _from_package(place: str, role: str) -> ModuleType:
    try:
        with user_code(f"importing {place}"):
            return importlib.import_module(place)
    except Exception as error:
        cause = error.__cause__
        missing = getattr(cause, "name", None) if isinstance(cause, ModuleNotFoundError) else None
        if missing and f"{place}.".startswith(f"{missing}."):
            raise TaskError(f"{role}: no module named '{missing}'; a file is named with its .py") from None
        raise


def _check_arguments(function: Callable[..., Any], name: str, args: Mapping[str, Any]) -> None:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a builtin without a signature: calling it will tell
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    faults = [
        f"args.{key}: {name} takes no such argument{did_you_mean(key, parameters)} "
        f"(it takes: {', '.join(parameters) or 'none'})"
        for key in args
        if key not in parameters
    ]
    faults += [
        f"args.{key}: {name} needs this argument and the config gives none"
        for key, parameter in parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_POSITIONAL
        and key not in args
    ]
    if faults:
        raise ConfigError("\n".join(faults))
