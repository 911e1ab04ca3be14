"""The study of slimmable networks on a mixed pool: are small networks out of one training as good as trained alone?

The pool, tasks and base of the study ``domains``; six ResNets of three widths and two depths, whose largest is the
base's network. All of them at once, on SimSiam and on BYOL, against each of them alone with as many steps (six
trainings) and with fewer, so that the six together take the time of the one.
"""

from __future__ import annotations

from domains import REST, SIMSIAM, prepare
from runs import Run

__all__ = ["COMPARISONS", "SMALL", "STAGES", "prepare"]

SLIMMABLE = "dspnet/small_scale/slimmable-simsiam_r18-narrow_domains.py"
DSPNET = "dspnet/small_scale/dspnet_r18-narrow_domains.py"
WIDTHS = (0.1875, 0.28125, 0.375)
DEPTHS = ((1, 1, 1, 1), (2, 2, 2, 2))
#: From the smallest to the largest, as the super-network names them.
NETWORKS = tuple(f"w{width}-d{''.join(map(str, depth))}" for width in WIDTHS for depth in DEPTHS)
#: What "small networks" are in the report: all but the largest.
SMALL = NETWORKS[:-1]
#: A step of each network alone in steps of the base, from times of its forward and backward passes and of loading,
#: which all have. One of all at once takes 1.75, so that 20 epochs of them cost 0.39 of 20 epochs of each alone ...
_COSTS = (0.55, 0.7, 0.7, 0.85, 0.7, 1.0)
#: ... and as much as so many epochs of each alone.
_EQUAL_TIME = 8


def _alone(group: str, label: str, config: str, epochs: int) -> tuple[Run, ...]:
    """A run for each of the networks."""
    members = [(width, depth) for width in WIDTHS for depth in DEPTHS]
    return tuple(
        Run(
            f"{group}_{name}",
            label,
            config,
            epochs,
            cost,
            options=(f"model.backbone.channels={[width]}", f"model.backbone.blocks={[list(depth)]}"),
            group=group,
        )
        for name, (width, depth), cost in zip(NETWORKS, members, _COSTS)
    )


STAGES = (
    (
        Run("slim20", "all six at once on SimSiam, 20 epochs", SLIMMABLE, 20, 1.75, group="slim20"),
        *_alone("alone20", "each alone by SimSiam, 20 epochs each", SLIMMABLE, 20),
    ),
    _alone("alone_time", "each alone by SimSiam, together as long as all six at once", SLIMMABLE, _EQUAL_TIME),
    (
        Run(
            "simsiam10of20",
            "SimSiam with the largest, the first 10 of 20 epochs",
            SIMSIAM,
            10,
            options=("schedule_epochs=20",),
        ),
        Run(
            "slim10of20+10",
            "all six at once for the other 10 of the 20 epochs",
            SLIMMABLE,
            10,
            1.75,
            "simsiam10of20",
            True,
            options=(*REST, "warmup_epochs=0"),
            group="slim10of20+10",
        ),
    ),
    (
        Run("dspnet20", "all six at once on BYOL, 20 epochs", DSPNET, 20, 1.95, group="dspnet20"),
        *_alone("byol20", "each alone by BYOL, 20 epochs each", DSPNET, 20),
    ),
    _alone("byol_time", "each alone by BYOL, together as long as all six at once", DSPNET, _EQUAL_TIME),
)
#: The first is the statement of the study, named before any of its runs was made: small networks out of one training
#: are not worse than trained alone, for half of the cost or less.
COMPARISONS = (
    ("slim20, small", "alone20, small"),
    ("slim20, small", "alone_time, small"),
    *((f"slim20, {name}", f"alone20, {name}") for name in NETWORKS),
    *((f"slim20, {name}", f"alone_time, {name}") for name in NETWORKS),
    ("slim10of20+10, small", "slim20, small"),
    ("slim10of20+10, small", "alone20, small"),
    ("slim10of20+10, small", "alone_time, small"),
    ("dspnet20, small", "byol20, small"),
    ("dspnet20, small", "byol_time, small"),
    ("dspnet20, small", "slim20, small"),
    *((f"dspnet20, {name}", f"byol20, {name}") for name in NETWORKS),
)
