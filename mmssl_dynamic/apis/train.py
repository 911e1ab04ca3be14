"""Training from a config: what ``mmssl-dynamic train`` does."""

from __future__ import annotations

import os

from mmengine.config import Config
from mmengine.runner import Runner

from mmssl_dynamic.engine.launch import TrainingOptions, prepare_config, run_training

PathLike = str | os.PathLike[str]


def train(
    config: PathLike | Config,
    work_dir: PathLike | None = None,
    *,
    resume: PathLike | None = None,
    launcher: str = "none",
    options: TrainingOptions | None = None,
) -> Runner:
    """Pre-train a network or super-network.

    Args:
        config: Config, or its file.
        work_dir: Folder of logs and checkpoints; the config's, or ``work_dirs/<name of the config>``, when left out.
        resume: Checkpoint to go on from, or ``'auto'`` for the latest one in ``work_dir``, if there is one.
        launcher: ``'pytorch'``, ``'slurm'`` or ``'mpi'`` in processes of theirs.
        options: How the training runs.

    Returns:
        The Runner at the end of the training.

    Raises:
        UserError: the config cannot do what an option asks for, or another process trains in the same work dir.
    """
    return run_training(prepare_config(config, work_dir, resume, launcher, options=options))
