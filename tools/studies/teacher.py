"""The study of a frozen teacher on the mixed pool: five widths distilled at once, against each of them alone.

The pool and tasks of the study ``domains``. The teacher is a small network that learnt from ImageNet with labels, out
of a wheel (lite_teacher.py); it looks at views of 96 pixels. At equal time five networks alone have a fifth of it each.
SDR with the teacher in W_0's place starts from the base, as SDR does.
"""

from __future__ import annotations

import domains
import lite_teacher
from domains import LOW, SDR16, SDR_COST, SIMSIAM, SPLITS
from runs import Folders, Run

__all__ = ["COMPARISONS", "NETWORKS", "SMALL", "STAGES", "prepare"]

DISTILLED = "dspnet/small_scale/slimmable-distillation_r18-narrow_frozen-teacher_domains.py"
SDR_TAUGHT = "sdr/small_scale/sdr_r18-narrow_16path_frozen-teacher_domains.py"
WIDTHS = (0.125, 0.1875, 0.25, 0.3125, 0.375)
NETWORKS = tuple(f"w{width}-d2222" for width in WIDTHS)
#: What "small networks" are in the report: all but the largest.
SMALL = NETWORKS[:-1]
_TEACHER = "teacher_checkpoint=$OUT/efficientnet-lite0.safetensors"
_EPOCHS = 20
#: A step in steps of the base, loading included: step_costs.py on an idle core, three interleaved rounds.
_AT_ONCE = 1.72
_ALONE = (1.07, 1.11, 1.13, 1.26, 1.3)
_TAUGHT_SDR = 2.82


def _alone(group: str, label: str, epochs: int) -> tuple[Run, ...]:
    """A run for each width."""
    return tuple(
        Run(
            f"{group}_{name}",
            label,
            DISTILLED,
            epochs,
            cost,
            options=(_TEACHER, f"model.backbone.channels={[width]}"),
            group=group,
        )
        for name, width, cost in zip(NETWORKS, WIDTHS, _ALONE)
    )


#: As long together as all at once.
_EQUAL_TIME = round(_EPOCHS * _AT_ONCE / sum(_ALONE))

STAGES = (
    (
        Run("simsiam10", "SimSiam, 10 epochs (base of SDR)", SIMSIAM, 10, splits=SPLITS),
        Run(
            "at_once",
            "five widths distilled at once, 20 epochs",
            DISTILLED,
            _EPOCHS,
            _AT_ONCE,
            options=(_TEACHER,),
            group="at_once",
        ),
        *_alone("alone_time", f"each width distilled alone, together as long: {_EQUAL_TIME} epochs each", _EQUAL_TIME),
    ),
    (
        Run(
            "own_layers",
            "five widths at once, a layer for each",
            DISTILLED,
            _EPOCHS,
            _AT_ONCE,
            options=(_TEACHER, "distillation_head=per_network"),
            group="own_layers",
        ),
        Run("sdr", "SDR after the base, 10 epochs", SDR16, 10, SDR_COST, "simsiam10", True, "cluster16", options=LOW),
        Run(
            "sdr_taught",
            "SDR after the base with the teacher in W_0's place, as long",
            SDR_TAUGHT,
            round(10 * SDR_COST / _TAUGHT_SDR),
            _TAUGHT_SDR,
            "simsiam10",
            True,
            "cluster16",
            options=(*LOW, _TEACHER),
        ),
    ),
    _alone("alone20", "each width distilled alone, 20 epochs each", _EPOCHS),
)
#: The first is the statement of the study, named before any of its runs was made.
COMPARISONS = (
    ("at_once, small", "alone_time, small"),
    *((f"at_once, {name}", f"alone_time, {name}") for name in NETWORKS),
    ("at_once, small", "alone20, small"),
    ("own_layers, small", "at_once, small"),
    ("sdr_taught", "sdr"),
)


def prepare(folders: Folders) -> None:
    """Unpack the images, and write the teacher's weights.

    Raises:
        ConfigError: an archive is missing, or the teacher is not installed.
    """
    domains.prepare(folders)
    file = folders.out / "efficientnet-lite0.safetensors"
    if not file.is_file():
        lite_teacher.write(file)
