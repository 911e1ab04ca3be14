"""The study of cheaper steps at equal time, on the mixed pool: one direction of the losses a step.

The pool, tasks and base of the study ``domains``. DSPNet's six networks as in the study ``dspnet``, with as many epochs
as take the time of 10 plain ones; SDR started from the base. The study ``sandwich`` has the options of later papers.
"""

from __future__ import annotations

from domains import LOW, SDR16, SDR_COST, SIMSIAM, SPLITS, prepare
from dspnet import DSPNET, NETWORKS, SMALL
from runs import Run

__all__ = ["COMPARISONS", "COST", "NETWORKS", "SMALL", "STAGES", "arm", "prepare"]

#: A step in steps of the base, loading included: step_costs.py on an idle core, three interleaved rounds. Options that
#: are not named cost what a plain step does, within the spread of the rounds. The slow start's is what three quarters
#: of plain epochs and a quarter with the largest network alone cost.
COST = {
    "plain": 1.86,
    "alternate": 1.18,
    "both_of_largest": 1.59,
    "same_view": 1.93,
    "slow": 1.65,
    "sdr": SDR_COST,
    "sdr_alternate": 1.1,
}
_EPOCHS = 10


def arm(name: str, label: str, cost: float, *options: str, config: str = DSPNET) -> Run:
    """DSPNet with options, for the time of the plain one."""
    epochs = round(_EPOCHS * COST["plain"] / cost)
    return Run(name, f"{label}, {epochs} epochs", config, epochs, cost, options=options, group=name)


def _sdr(name: str, label: str, cost: float, *options: str) -> Run:
    """SDR from the base's weights, for the time of 10 epochs in both directions."""
    epochs = round(10 * COST["sdr"] / cost)
    return Run(
        name, f"{label}, {epochs} epochs", SDR16, epochs, cost, "simsiam10", True, "cluster16", options=(*LOW, *options)
    )


STAGES = (
    (
        Run("simsiam10", "SimSiam, 10 epochs (base of SDR)", SIMSIAM, 10, splits=SPLITS),
        _sdr("sdr", "SDR after the base, both directions", COST["sdr"]),
        _sdr(
            "sdr_alternate", "SDR after the base, one direction a step", COST["sdr_alternate"], "directions=alternate"
        ),
        arm("plain", "DSPNet", COST["plain"]),
        arm("alternate", "DSPNet, one direction a step", COST["alternate"], "directions=alternate"),
        arm(
            "both_of_largest",
            "DSPNet, both directions of the largest alone",
            COST["both_of_largest"],
            "directions=both_of_largest",
        ),
    ),
)
#: Named before any run was made: one direction a step is not worse at equal time, of small networks and of SDR's paths.
COMPARISONS = (
    ("alternate, small", "plain, small"),
    ("sdr_alternate", "sdr"),
    ("both_of_largest, small", "plain, small"),
    (f"alternate, {NETWORKS[-1]}", f"plain, {NETWORKS[-1]}"),
)
