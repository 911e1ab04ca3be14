"""The study of cheaper steps and of what later papers added to the sandwich rule, at equal time, on the mixed pool.

The pool, tasks and base of the study ``domains``. DSPNet's six networks as in the study ``dspnet``, each option by
itself with as many epochs as take the time of 10 plain ones; SDR started from the base with one direction a step.
"""

from __future__ import annotations

from domains import LOW, SDR16, SDR_COST, SIMSIAM, SPLITS, prepare
from dspnet import DSPNET, NETWORKS, SMALL
from runs import Run

__all__ = ["COMPARISONS", "NETWORKS", "SMALL", "STAGES", "prepare"]

#: A step in steps of the base, loading included: step_costs.py on an idle core, three interleaved rounds. Options that
#: are not named cost what a plain step does, within the spread of the rounds. The slow start's is what three quarters
#: of plain epochs and a quarter with the largest network alone cost.
_COST = {
    "plain": 1.86,
    "alternate": 1.18,
    "both_of_largest": 1.59,
    "same_view": 1.93,
    "slow": 1.65,
    "sdr": SDR_COST,
    "sdr_alternate": 1.1,
}
_EPOCHS = 10


def _arm(name: str, label: str, cost: float, *options: str) -> Run:
    """DSPNet with an option, for the time of the plain one."""
    epochs = round(_EPOCHS * _COST["plain"] / cost)
    return Run(name, f"{label}, {epochs} epochs", DSPNET, epochs, cost, options=options, group=name)


def _sdr(name: str, label: str, cost: float, *options: str) -> Run:
    """SDR from the base's weights, for the time of 10 epochs in both directions."""
    epochs = round(10 * _COST["sdr"] / cost)
    return Run(
        name, f"{label}, {epochs} epochs", SDR16, epochs, cost, "simsiam10", True, "cluster16", options=(*LOW, *options)
    )


STAGES = (
    (
        Run("simsiam10", "SimSiam, 10 epochs (base of SDR)", SIMSIAM, 10, splits=SPLITS),
        _sdr("sdr", "SDR after the base, both directions", _COST["sdr"]),
        _sdr(
            "sdr_alternate", "SDR after the base, one direction a step", _COST["sdr_alternate"], "directions=alternate"
        ),
        _arm("plain", "DSPNet", _COST["plain"]),
        _arm("alternate", "DSPNet, one direction a step", _COST["alternate"], "directions=alternate"),
        _arm(
            "both_of_largest",
            "DSPNet, both directions of the largest alone",
            _COST["both_of_largest"],
            "directions=both_of_largest",
        ),
    ),
    (
        _arm("any_width", "US3L's any width", _COST["plain"], "any_width=True"),
        _arm(
            "us3l",
            "US3L: any width, dynamic sampling, group regularisation",
            _COST["plain"],
            "any_width=True",
            "dynamic_sampling=True",
            "group_alpha=0.05",
        ),
        _arm("dynamic", "US3L's dynamic sampling", _COST["plain"], "dynamic_sampling=True"),
        _arm("groups", "US3L's group regularisation", _COST["plain"], "group_alpha=0.05"),
        _arm("slow", "SlimCLR's slow start, a quarter of the epochs", _COST["slow"], "warmup_epochs=3"),
        _arm("by_width", "SlimCLR's losses by width", _COST["plain"], "loss_weights=width"),
        _arm("by_largest", "SlimCLR's loss of the largest weighs more", _COST["plain"], "loss_weights=largest"),
        _arm("small_often", "POA: small networks more often", _COST["plain"], "favour_small=2"),
        _arm("same_view", "POA: the same view, too", _COST["same_view"], "same_view=1"),
    ),
)
#: Named before any run was made: one direction a step is not worse at equal time, of small networks and of SDR's paths.
COMPARISONS = (
    ("alternate, small", "plain, small"),
    ("sdr_alternate", "sdr"),
    ("both_of_largest, small", "plain, small"),
    *(
        (f"{run.name}, {network}", f"plain, {network}")
        for run in STAGES[1]
        for network in ("small", NETWORKS[0], NETWORKS[-1])
    ),
    (f"alternate, {NETWORKS[-1]}", f"plain, {NETWORKS[-1]}"),
)
