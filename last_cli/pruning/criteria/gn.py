"""Gauss-Newton: the squared change of the logits when a state goes, to first order, E|d logits / d gate|^2.

The gate is a factor on one state's share of its layer's output. No labels enter.
"""

from last_cli.pruning.criteria.criterion import Criterion

GN = Criterion(
    name="gn",
    summary="squared change of the logits without the state, Gauss-Newton; runs the network on input sequences",
    energy=lambda sensitivity: sensitivity,
    needs=("sensitivity",),
)
