"""The sharded execution: members dealt out to worker processes, each with one thread."""
