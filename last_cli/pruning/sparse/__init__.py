"""Zeros among the weights of linear maps: WANDA and SparseGPT, in any place or N of every M."""
