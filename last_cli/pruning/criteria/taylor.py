"""Taylor: as Fisher, but by the size of the weights, not by their squares."""

from last_cli.pruning.criteria.criterion import Criterion

TAYLOR = Criterion(
    name="taylor",
    summary="language models: |W| times squared gradients of the loss on text, over all rows and columns of a unit",
    energy=lambda measured: measured,
    needs=("measured",),
    measure="taylor",
)
