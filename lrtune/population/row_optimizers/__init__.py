"""Optimizers on rows: members trained at once, each with its own learning rate and weight decay."""

from lrtune.population.row_optimizers.base import RowOptimizer
from lrtune.population.row_optimizers.instances import InstanceRows
from lrtune.population.row_optimizers.table import row_optimizer

__all__ = ["InstanceRows", "RowOptimizer", "row_optimizer"]
