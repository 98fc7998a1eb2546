"""Fisher: how much the loss on text minds a unit's parameters, squared gradients times squared weights."""

from last_cli.pruning.criteria.criterion import Criterion

FISHER = Criterion(
    name="fisher",
    summary="language models: W^2 times squared gradients of the loss on text, over all rows and columns of a unit",
    energy=lambda measured: measured,
    needs=("measured",),
    measure="fisher",
)
