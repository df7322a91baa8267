"""Reading a configuration: strict YAML, `--set` overrides laid over it, and faults told in the file's own terms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from lrtune.config import Config
from lrtune.config_faults import faults_of, listed
from lrtune.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def load_config(
    path: str | Path, overrides: Sequence[str] = (), options: Mapping[str, Any] | None = None
) -> Config:
    """Read a YAML file, lay what the command line says over it, and check the whole.

    Args:
        path: The file.
        overrides: Such as `"coarse.epochs=2"` or `"coarse.lr=[0.1, 0.3]"`; the value is YAML.
        options: Values of keys that have an option of their own: `{"seed": 1}` of `--seed 1`; they come last.

    Raises:
        ConfigError: If the file cannot be read or is not a mapping, or listing all its faults.
    """
    path = Path(path)
    return _checked(_read_yaml(path), overrides, options or {}, place=str(path))


def config_from_overrides(
    overrides: Sequence[str], options: Mapping[str, Any] | None = None, **keys: Any
) -> Config:
    """Return the default configuration with `keys`, `task` among them, and what the command line says over it.

    Raises:
        ConfigError: Listing all faults.
    """
    return _checked(keys, overrides, options or {}, place="--set")


def _checked(
    raw: Mapping[str, Any], overrides: Sequence[str], options: Mapping[str, Any], place: str
) -> Config:
    merged, paths = _overlaid(raw, overrides)
    merged |= options
    overridden = dict.fromkeys(paths, "--set") | {key: f"--{key.replace('_', '-')}" for key in options}
    missing = f"{place}: task: missing; name the function that makes the task, such as 'model.py:make_task'"
    faults = [missing] if merged.get("task") is None else []
    try:
        config = Config.model_validate(merged)
    except ConfigError as error:  # Config reports in terms of Python keywords: say it of the file instead
        cause = error.__context__
        if not isinstance(cause, ValidationError):
            raise
        raise ConfigError(listed([*faults, *faults_of(cause, merged, place, overridden, Config)])) from None
    if faults:
        raise ConfigError(listed(faults))
    return config


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML in which `1e-4` is a number and a repeated key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool) or key in seen:
                problem = f"the key {key!r} stands twice" if isinstance(key, str) else "a key must be a name"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 wants a dot in a float and reads 1e-4 as text; YAML 1.2 and every user read a number.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _parsed(text: str, place: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{place}{line}: not valid YAML: {problem}") from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `lrtune init` writes a starter task and config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    raw = _parsed(text, str(path))
    if not isinstance(raw, dict):
        kind = "nothing" if raw is None else f"a {type(raw).__name__}"
        raise ConfigError(f"{path}: expected keys such as 'task: model.py:make_task', found {kind}")
    return {str(key): value for key, value in raw.items()}


def _overlaid(raw: Mapping[str, Any], overrides: Iterable[str]) -> tuple[dict[str, Any], tuple[str, ...]]:
    merged = _copied(raw)
    paths = []
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path.strip():
            raise ConfigError(f"--set {override}: expected KEY=VALUE, such as coarse.epochs=2")
        keys = path.strip().split(".")
        parent: dict[str, Any] = merged
        for key in keys[:-1]:
            inner = parent.get(key)
            if not isinstance(inner, dict):
                inner = parent[key] = {}
            parent = inner
        parent[keys[-1]] = _parsed(text, f"--set {path}")
        paths.append(path.strip())
    return merged, tuple(paths)


def _copied(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, dict) else value for key, value in raw.items()}
