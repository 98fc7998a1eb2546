"""FLAP: how much what heads put out fluctuates on text, weighed by out_proj, in all layers together.

The mean of what goes becomes a bias of out_proj.
"""

from last_cli.pruning.criteria.criterion import Criterion

FLAP = Criterion(
    name="flap",
    summary="heads of language models: FLAP's weighted fluctuation on text, all layers together, with its bias",
    energy=lambda measured: measured,
    needs=("measured",),
    targets=("heads",),
    measure="flap",
    scope="global",
    makes_up=True,
)
