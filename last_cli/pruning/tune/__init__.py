"""Kept states trained towards the answers of the network that they were pruned from, without labels."""
