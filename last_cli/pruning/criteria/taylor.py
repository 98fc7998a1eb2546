"""Taylor: as Fisher, but by the size of the weights, not by their squares."""

from last_cli.pruning.criteria.criterion import Criterion

TAYLOR = Criterion(
    name="taylor",
    summary="language models: |W| times squared gradients of the loss on text, over all rows and columns of a unit",
    energy=lambda measured: measured,
    needs=("measured",),
    measure="taylor",
)

REFERENCE_TAYLOR = Criterion(
    name="reference-taylor",
    summary="the same of states as the paper's code has it, of phi-mamba and Smol2 by the token that was just read",
    energy=lambda measured: measured,
    needs=("measured",),
    targets=("states",),
    measure="reference-taylor",
)
