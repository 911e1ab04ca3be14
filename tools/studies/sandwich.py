"""The study of what later papers added to the sandwich rule, at equal time, on the mixed pool.

The pool and tasks of the study ``domains``, and DSPNet's six networks as in the study ``dspnet``: each option by itself
with as many epochs as take the time of 10 plain ones.
"""

from __future__ import annotations

from domains import prepare
from dspnet import NETWORKS, SMALL
from relatives import COST, arm

__all__ = ["COMPARISONS", "NETWORKS", "SMALL", "STAGES", "prepare"]

HEADS = "dspnet/small_scale/dspnet_r18-narrow_heads_domains.py"

STAGES = (
    (
        arm("plain", "DSPNet", COST["plain"]),
        arm("any_width", "US3L's any width", COST["plain"], "any_width=True"),
        arm(
            "us3l",
            "US3L: any width, dynamic sampling, group regularisation",
            COST["plain"],
            "any_width=True",
            "dynamic_sampling=True",
            "group_alpha=0.05",
        ),
        arm("dynamic", "US3L's dynamic sampling", COST["plain"], "dynamic_sampling=True"),
        arm("groups", "US3L's group regularisation", COST["plain"], "group_alpha=0.05"),
        arm("slow", "SlimCLR's slow start, a quarter of the epochs", COST["slow"], "warmup_epochs=3"),
        arm("by_width", "SlimCLR's losses by width", COST["plain"], "loss_weights=width"),
        arm("by_largest", "SlimCLR's loss of the largest weighs more", COST["plain"], "loss_weights=largest"),
        arm("small_often", "POA: small networks more often", COST["plain"], "favour_small=2"),
        arm("same_view", "POA: the same view, too", COST["same_view"], "same_view=1"),
        arm("heads", "POA: three heads", COST["plain"], config=HEADS),
    ),
)
COMPARISONS = tuple(
    (f"{run.name}, {network}", f"plain, {network}")
    for run in STAGES[0][1:]
    for network in ("small", NETWORKS[0], NETWORKS[-1])
)
