"""Fisher: how much the loss on text minds a unit's parameters, squared gradients times squared weights."""

from last_cli.pruning.criteria.criterion import Criterion

FISHER = Criterion(
    name="fisher",
    summary="language models: W^2 times squared gradients of the loss on text, over all rows and columns of a unit",
    energy=lambda measured: measured,
    needs=("measured",),
    measure="fisher",
)

REFERENCE_FISHER = Criterion(
    name="reference-fisher",
    summary="the same of states as the paper's code has it, of phi-mamba and Smol2 by the token that was just read",
    energy=lambda measured: measured,
    needs=("measured",),
    targets=("states",),
    measure="reference-fisher",
)
