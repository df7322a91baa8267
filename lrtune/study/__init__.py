"""Optuna: the search space, the study and how trials are asked and told. The only place that imports optuna."""
