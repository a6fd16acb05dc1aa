"""The tiers: each turns its part of the plan and the rendered files into workloads."""
