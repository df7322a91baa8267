"""Judgements of a training's curve: step 6."""
