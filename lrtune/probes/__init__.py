"""Measurements on a model and its data. No judgement here: that is `checks/`."""
