"""The fused execution: K members as one program over stacked parameters."""
