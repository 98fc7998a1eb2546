"""Whole blocks of a language model: which of them the loss on text misses least, and the model without them."""
