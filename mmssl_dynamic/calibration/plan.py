"""Which BatchNorm statistics are measured, and of which images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CalibrationPlan:
    """Which BatchNorm statistics are measured, and of which images.

    Args:
        source: Whose images the statistics of a path come from: ``'cluster'``, ``'all'`` or ``'mix'``, see
            :func:`~mmssl_dynamic.calibration.calibrate_bank`; those that it trained on when left out.
        transforms: ``'eval'`` or ``'train'``, see :class:`~mmssl_dynamic.calibration.CalibrationImages`.
        bn: ``'path'``, ``'prefix'`` or both; all that the network has when left out.
        images: Images per sub-network.
        seed: Of the sample of images.
    """

    source: str | None = None
    transforms: str = "eval"
    bn: Sequence[str] | None = None
    images: int = 2000
    seed: int = 0
