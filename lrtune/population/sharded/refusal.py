"""Why there is no sharded execution, as an exception that the planner turns into a note."""


class CannotShardError(Exception):
    """Members cannot be trained in worker processes; says why."""
