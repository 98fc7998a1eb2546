"""`last`: score, prune and evaluate trained diagonal state space models."""

__version__ = "0.1.0"
