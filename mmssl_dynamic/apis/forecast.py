"""What a training will take, before it runs: what ``mmssl-dynamic forecast`` does."""

from __future__ import annotations

import os

from mmengine.config import Config

from mmssl_dynamic import forecast as counting
from mmssl_dynamic.forecast import Forecast, Machine
from mmssl_dynamic.loading import loaded
from mmssl_dynamic.outputs import check_output_file
from mmssl_dynamic.writing import write_json

PathLike = str | os.PathLike[str]


def forecast(
    config: PathLike | Config,
    machine: Machine | None = None,
    *,
    images: int | None = None,
    out: PathLike | None = None,
) -> Forecast:
    """Count what a training takes, without a GPU and without its images.

    Args:
        config: Pre-training config, or its file.
        machine: Where it is to run.
        images: Of the data set; found out from its folder or clusters file when left out.
        out: A ``.json`` file that gets it, too.

    Raises:
        UserError: anything that does not fit.
    """
    if out is not None:
        check_output_file(out, "--out", (".json",))
    found = counting.forecast(loaded(config), machine, images)
    if out is not None:
        write_json(out, found.record())
    return found
