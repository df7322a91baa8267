"""The engine: K configurations of one task trained side by side.

`protocol.py` says what a population does; `serial.py`, `fused/` and `sharded/` are its executions; `planner.py`
chooses. Every training of the recipe goes through here, and nowhere else is `backward()` called to train.
"""
