"""Whole pruning methods that do more than choose states: `reconstruct`, and the refit of C after any other choice."""
