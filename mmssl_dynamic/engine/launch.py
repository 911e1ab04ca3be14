"""From a config file and the options of a command line to a Runner."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner as MMEngineRunner
from mmengine.runner import find_latest_checkpoint

from mmssl_dynamic.engine.runner import Runner
from mmssl_dynamic.engine.tensorboard import add_tensorboard
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import load_config, need

# Optimiser wrappers and what they are under automatic mixed precision.
_AMP = {
    "OptimWrapper": "AmpOptimWrapper",
    "mmssl_dynamic.SubnetOptimWrapper": "mmssl_dynamic.SubnetAmpOptimWrapper",
}


def prepare_config(
    path: str | os.PathLike[str],
    work_dir: str | None = None,
    resume: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    tensorboard: bool = False,
    channels_last: bool = False,
    launcher: str = "none",
    cfg_options: dict[str, Any] | None = None,
) -> Config:
    """A config with the command line's options merged into it.

    Args:
        path: Config file.
        work_dir: Where logs and checkpoints go. Defaults to the config's, or ``work_dirs/<name of the config>``.
        resume: A checkpoint to go on from, or ``'auto'`` for the latest one in ``work_dir``.
        amp: Train with automatic mixed precision.
        auto_scale_lr: Scale the learning rate by the total batch size over ``auto_scale_lr.base_batch_size``.
        tensorboard: Write scalars for TensorBoard, too.
        channels_last: Keep weights and activations in channels-last order.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        cfg_options: Further overrides.

    Raises:
        ConfigError: the config cannot do what an option asks for.
    """
    config = load_config(path, cfg_options)
    need(config, "model", "train_dataloader", "optim_wrapper", "train_cfg")
    config.launcher = launcher
    if work_dir is not None:
        config.work_dir = work_dir
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(path).stem)
    for key in ("train_dataloader", "val_dataloader", "test_dataloader", "extract_dataloader"):
        if (config.get(key) or {}).get("num_workers") == 0:
            config[key].pop("persistent_workers", None)  # torch refuses workers that persist without being there
    if amp:
        if not torch.cuda.is_available():
            raise ConfigError("--amp needs a GPU, and torch sees none; leave it out.")
        kind = config.optim_wrapper.get("type", "OptimWrapper")
        if kind not in (*_AMP, *_AMP.values()):
            raise ConfigError(f"--amp does not know optim_wrapper.type='{kind}'; use one of {sorted(_AMP)}.")
        config.optim_wrapper.type = _AMP.get(kind, kind)
        config.optim_wrapper.setdefault("loss_scale", "dynamic")
    if auto_scale_lr:
        if config.get("auto_scale_lr", {}).get("base_batch_size") is None:
            raise ConfigError("--auto-scale-lr needs auto_scale_lr.base_batch_size in the config.")
        config.auto_scale_lr.enable = True
    if tensorboard:
        add_tensorboard(config)
    if channels_last:
        config.channels_last = True
    if resume == "auto":
        # With nothing there to go on from, the training starts as the config says: from load_from, if it names one.
        if find_latest_checkpoint(config.work_dir) is not None:
            config.resume, config.load_from = True, None
    elif resume is not None:
        config.resume, config.load_from = True, resume
    return config


def build_runner(config: Config) -> MMEngineRunner:
    """The Runner of a config: the package's own, or a class made from it that ``runner_type`` names.

    Raises:
        ConfigError: it names another class; mmengine's executes the config that a checkpoint holds on resuming.
    """
    from mmengine.registry import RUNNERS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    kind = config.get("runner_type", "mmssl_dynamic.Runner")
    runner_class = RUNNERS.get(kind)
    if runner_class is None:
        raise ConfigError(f"runner_type='{kind}' is not registered; leave it out.")
    if not issubclass(runner_class, Runner):
        raise ConfigError(
            f"runner_type='{kind}' executes what checkpoints hold; leave it out, or name a class made from "
            "mmssl_dynamic.Runner."
        )
    if config.get("launcher") == "pytorch" and not torch.cuda.is_available():
        _prepare_cpu_processes(config)
    return runner_class.from_cfg(config)


def _prepare_cpu_processes(config: Config) -> None:
    """Let several processes train on the CPU; mmengine's own start of torchrun's processes asks for GPUs."""
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    if config.get("model_wrapper_cfg") is None:
        config.model_wrapper_cfg = dict(type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False)
