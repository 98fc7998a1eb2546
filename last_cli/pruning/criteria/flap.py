"""FLAP: how much what heads or channels put out fluctuates on text, weighed by out_proj, in all layers together.

The mean of what goes becomes a bias of out_proj.
"""

from last_cli.pruning.criteria.criterion import Criterion

FLAP = Criterion(
    name="flap",
    summary="language models: FLAP's weighted fluctuation of heads or channels on text, with its bias",
    energy=lambda measured: measured,
    needs=("measured",),
    targets=("heads", "channels"),
    measure="flap",
    scope="global",
    makes_up=True,
)

REFERENCE_FLAP = Criterion(
    name="reference-flap",
    summary="the same of heads as the paper's code has it: one head fewer; with mamba_ssm the first head of each layer",
    energy=lambda measured: measured,
    needs=("measured",),
    targets=("heads",),
    measure="reference-flap",
    ties="go",
    scope="global",
    min_states=1,
    makes_up=True,
)
