"""The configuration: which keys there are, their defaults and ranges."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from lrtune.config_faults import faults_of, listed
from lrtune.errors import ConfigError
from lrtune.storage import parsed

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # 32 bits: what every generator takes
Device = Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+|mps)$")]
Rates = Annotated[
    Annotated[Literal["auto"], Tag("auto")] | Annotated[list[Rate], Field(min_length=1), Tag("list")],
    Discriminator(lambda value: "auto" if isinstance(value, str) else "list"),
]
Halving = Annotated[
    Annotated[int, Field(ge=2)] | None,
    # YAML reads a bare off as False; a user who writes "off" in quotes means the same.
    BeforeValidator(lambda value: None if value is False or value == "off" else value),
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class OptimizerConfig(_Section):
    """`optimizer:`, a class of `torch.optim` by name or `file.py:function`; further keys are its keywords."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)
    name: str = "sgd"

    @model_validator(mode="after")
    def _rates_are_searched(self) -> OptimizerConfig:
        for key in ("lr", "weight_decay"):
            if key in self.keywords:
                raise ValueError(
                    f"'{key}' is what lrtune looks for: take it out here and set it under coarse:"
                )
        return self

    @property
    def keywords(self) -> dict[str, Any]:
        """The optimizer's keywords besides rate and decay."""
        return dict(self.model_extra or {})


class OverfitConfig(_Section):
    """`overfit:`, how many minibatches are to be learnt by heart, within how many steps at each rate."""

    batches: Count = 5
    steps: Count = 300


class FindLrConfig(_Section):
    """`find_lr:`, the sweep's range of rates, its steps, and over how many seeds it is repeated."""

    min: Rate = 1e-7
    max: Rate = 10.0
    steps: Annotated[int, Field(ge=20)] = 100
    repeats: Count = 3
    weight_decay: Decay = 1e-4

    @model_validator(mode="after")
    def _range_is_a_range(self) -> FindLrConfig:
        if self.max < 10 * self.min:
            raise ValueError(f"max ({self.max:g}) must be at least ten times min ({self.min:g})")
        return self


class CoarseConfig(_Section):
    """`coarse:`, the rates (`auto`: around step 3) times the decays, each trained for some epochs.

    `axes` adds further ones by name: a keyword of the optimizer, `batch_size`, or a key of `args`. `halving: N` is
    successive halving: after each rung (epochs / N, epochs / N^2, ... from the end) the best 1/N of the cells go on and
    the others are `pruned`. It is off by default, since after few steps high rates look better than low ones, which
    would have caught up.
    """

    lr: Rates = "auto"
    weight_decay: Annotated[list[Decay], Field(min_length=1)] = [0.0, 1e-5, 1e-4]
    epochs: Count = 3
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    halving: Halving = None

    @model_validator(mode="after")
    def _axes_are_others(self) -> CoarseConfig:
        for key, values in self.axes.items():
            if key in ("lr", "weight_decay"):
                raise ValueError(f"axes: '{key}' has a key of its own: set coarse.{key}")
            if len({repr(value) for value in values}) < len(values):
                raise ValueError(f"axes: '{key}' holds a value twice")
        return self


class RefineConfig(_Section):
    """`refine:`, Optuna's trials around the best cells; the winner is repeated over `seeds` seeds.

    `pruner` stops trials that are behind at the end of an epoch: `median` (of the complete trials), or `halving` (of
    each rung the best third goes on). It is off by default, since low rates are behind at first. After `timeout`
    seconds no further training begins; what is under way ends.
    """

    trials: Count = 20
    epochs: Count = 15
    sampler: Literal["tpe", "gp", "qmc", "random"] = "tpe"
    pruner: Literal["none", "median", "halving"] = "none"
    timeout: Rate | None = None
    seeds: Count = 3


class PopulationConfig(_Section):
    """`population:`, how members of one training are executed, and how many of them at most at once.

    `sharded` trains members one by one in each of several processes; `workers` is how many of them, one a core unless
    set.
    """

    execution: Literal["auto", "serial", "fused", "sharded"] = "auto"
    members: Count | None = None
    workers: Count | None = None


class WorkersConfig(_Section):
    """`workers:`, how processes that share a storage hear of each other.

    A worker that was not heard of for four heartbeats (seconds) is dead, and its trials are given to another. A
    storage that cannot be reached is waited for up to `patience` seconds.
    """

    heartbeat: Count = 15
    patience: Count = 300


class Config(_Section):
    """All settings of a recipe; the keys of the YAML file as keyword arguments.

    Raises:
        ConfigError: Listing every unknown key, wrong type and value out of range.

    Example:
        >>> Config(coarse={"epochs": 2}).coarse.epochs
        2
    """

    task: str | None = None
    args: dict[str, Any] = {}
    seed: Seed = 0
    device: Device = "auto"
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    batch_size: Count = 64
    optimizer: OptimizerConfig = OptimizerConfig(name="sgd", momentum=0.9)  # type: ignore[call-arg]
    run_dir: str | None = None
    overfit: OverfitConfig = OverfitConfig()
    find_lr: FindLrConfig = FindLrConfig()
    coarse: CoarseConfig = CoarseConfig()
    refine: RefineConfig = RefineConfig()
    population: PopulationConfig = PopulationConfig()
    storage: Annotated[str | None, Field(repr=False)] = None  # it may hold a password
    study: Annotated[str, Field(min_length=1)] | None = None
    workers: WorkersConfig = WorkersConfig()

    @field_validator("storage")
    @classmethod
    def _storage_has_a_form(cls, value: str | None) -> str | None:
        if value is not None:
            parsed(value)
        return value

    def __init__(self, **keys: Any) -> None:
        try:
            super().__init__(**keys)
        except ValidationError as error:
            raise ConfigError(
                listed(faults_of(error, keys, place="Config", overridden={}, model=Config))
            ) from None

    def updated(self, **keys: Any) -> Config:
        """Return a checked copy with some keys replaced."""
        return Config(**{**self.model_dump(exclude_unset=True), **keys})
