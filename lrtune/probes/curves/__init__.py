"""Measurements on a training curve that is already there: its noise, trend, swings, spikes. No judgement here."""
