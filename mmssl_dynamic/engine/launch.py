"""From a config file and the options of a command line to a Runner."""

from __future__ import annotations

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner as MMEngineRunner

from mmssl_dynamic.cpu import computes_in_bf16, prepare_cpu
from mmssl_dynamic.engine.checkpoints import checkpoint_files
from mmssl_dynamic.engine.compiling import compile_options
from mmssl_dynamic.engine.runner import Runner
from mmssl_dynamic.engine.tensorboard import add_tensorboard
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import load_config, need
from mmssl_dynamic.locks import locked_folder
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.processes import wait_of

PathLike = str | os.PathLike[str]

# Optimiser wrappers and what they are under automatic mixed precision, on a GPU and on a processor.
_AMP = {
    "OptimWrapper": ("AmpOptimWrapper", "mmssl_dynamic.Bf16OptimWrapper"),
    "mmssl_dynamic.SubnetOptimWrapper": (
        "mmssl_dynamic.SubnetAmpOptimWrapper",
        "mmssl_dynamic.SubnetBf16OptimWrapper",
    ),
}
_AMP_TYPES = {"bf16": "bfloat16", "fp16": "float16"}


@dataclass(frozen=True)
class TrainingOptions:
    """How a training runs, beside what its config says.

    Args:
        amp: Train with automatic mixed precision: ``'bf16'``, ``'fp16'`` (GPUs only), or ``'auto'`` (also ``True``),
            which is bf16 where the card or, without one, the processor has it; ``None`` (also ``False``) for none.
        auto_scale_lr: Scale the learning rate by the total batch size over ``auto_scale_lr.base_batch_size``.
        tensorboard: Write scalars for TensorBoard, too.
        channels_last: Keep weights and activations in channels-last order.
        compile: Train by compiled backbones; the config's ``compile`` may say how.
        validate: Validate during the training, where the config says so.
        pin_memory: Load into page-locked memory, where there is CUDA and the config does not say otherwise.
        persistent_workers: Keep loader processes from epoch to epoch, where the config does not say otherwise.
        monitor: Labelled image folder whose kNN accuracy is logged during the training, see
            :class:`~mmssl_dynamic.evaluation.knn_monitor_hook.KNNMonitorHook`.
    """

    amp: str | bool | None = None
    auto_scale_lr: bool = False
    tensorboard: bool = False
    channels_last: bool = False
    compile: bool = False
    validate: bool = True
    pin_memory: bool = True
    persistent_workers: bool = True
    monitor: PathLike | None = None


def prepare_config(
    config: PathLike | Config,
    work_dir: PathLike | None = None,
    resume: PathLike | None = None,
    launcher: str = "none",
    cfg_options: dict[str, Any] | None = None,
    options: TrainingOptions | None = None,
) -> Config:
    """A config with the command line's options merged into it.

    Args:
        config: Config file, or what :func:`~mmssl_dynamic.loading.load_config` read from one; that stays as it is.
        work_dir: Where logs and checkpoints go. Defaults to the config's, or ``work_dirs/<name of the config>``.
        resume: A checkpoint to go on from, or ``'auto'`` for the latest one in ``work_dir``.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        cfg_options: Overrides, for a config file.
        options: How the training runs.

    Raises:
        ConfigError: the config cannot do what an option asks for.
    """
    options = options or TrainingOptions()
    config = copy.deepcopy(config) if isinstance(config, Config) else load_config(config, cfg_options)
    need(config, "model", "train_dataloader", "optim_wrapper", "train_cfg")
    config.launcher = launcher
    if work_dir is not None:
        config.work_dir = os.fspath(work_dir)
    elif config.get("work_dir") is None:
        config.work_dir = str(Path("work_dirs") / Path(config.filename or "training").stem)
    if not options.validate:
        config.val_cfg = config.val_dataloader = config.val_evaluator = None
    _set_loaders(config, options.pin_memory, options.persistent_workers)
    _check_schedule(config)
    if options.amp:
        _set_amp(config, options.amp)
    if options.auto_scale_lr:
        if config.get("auto_scale_lr", {}).get("base_batch_size") is None:
            raise ConfigError("--auto-scale-lr needs auto_scale_lr.base_batch_size in the config.")
        config.auto_scale_lr.enable = True
    if options.monitor is not None:
        hook = dict(type="mmssl_dynamic.KNNMonitorHook", data_root=str(options.monitor))
        config.custom_hooks = [*(config.get("custom_hooks") or []), hook]
    if options.tensorboard:
        add_tensorboard(config)
    if options.channels_last:
        config.channels_last = True
    if options.compile:
        config.compile = config.get("compile") or True
    compile_options(config.get("compile"))
    if resume == "auto":
        # With nothing there to go on from, the training starts as the config says: from load_from, if it names one.
        if checkpoint_files(config):
            config.resume, config.load_from = True, None
    elif resume is not None:
        config.resume, config.load_from = True, os.fspath(resume)
    return config


def _set_amp(config: Config, amp: str | bool) -> None:
    """The optimiser wrapper of mixed precision.

    Raises:
        ConfigError: there are no such floats here, or the wrapper is not known.
    """
    dtype, on_gpu, wrapper = _amp_type(amp), torch.cuda.is_available(), config.optim_wrapper
    kind = wrapper.get("type", "OptimWrapper")
    known = next((kinds for plain, kinds in _AMP.items() if kind in (plain, *kinds)), None)
    if known is None:
        raise ConfigError(f"--amp does not know optim_wrapper.type='{kind}'; use one of {sorted(_AMP)}.")
    if on_gpu:
        if amp in (True, "auto"):
            dtype = wrapper.get("dtype") or dtype  # the config's own choice
        wrapper.type, wrapper.dtype = known[0], dtype
        # bf16 has the range of single precision: nothing underflows that a scale would save.
        wrapper.setdefault("loss_scale", "dynamic" if dtype == "float16" else dict(enabled=False))
    else:
        if wrapper.get("dtype") not in (None, dtype):
            raise ConfigError(
                f"optim_wrapper.dtype='{wrapper.dtype}' needs a GPU, and torch sees none; --amp has {dtype} here, so "
                "leave the option out."
            )
        wrapper.type = known[1]
        for key in ("dtype", "loss_scale"):
            wrapper.pop(key, None)


def _amp_type(amp: str | bool) -> str:
    """The floats of mixed precision, by torch's name.

    Raises:
        ConfigError: there are no such ones, or not on this machine.
    """
    if amp is not True and amp not in ("auto", *_AMP_TYPES):
        raise ConfigError(f"--amp {amp} is not known; use auto, {' or '.join(_AMP_TYPES)}.")
    if not torch.cuda.is_available():
        if amp == "fp16":
            raise ConfigError("--amp fp16 needs a GPU, and torch sees none; use --amp bf16, or leave it out.")
        if not computes_in_bf16():
            raise ConfigError(
                "--amp needs a GPU, or a processor with instructions for bf16, and torch sees none; leave it out."
            )
        return "bfloat16"
    if amp is True or amp == "auto":
        # Older cards emulate bf16, more slowly than they have fp16.
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return _AMP_TYPES[str(amp)]


def _set_loaders(config: Config, pin_memory: bool, persistent_workers: bool) -> None:
    """Defaults and switches of the loaders; those of mmpretrain's tools where the config is one of mmpretrain's."""
    for key in ("train_dataloader", "val_dataloader", "test_dataloader", "extract_dataloader"):
        loader = config.get(key)
        if loader is None:
            continue
        if config.get("default_scope") == "mmpretrain" and key != "extract_dataloader":
            # Page-locked memory without CUDA is a warning in every epoch.
            loader.setdefault("pin_memory", torch.cuda.is_available())
            loader.setdefault("persistent_workers", True)
            loader.setdefault("collate_fn", dict(type="default_collate"))
        if not pin_memory:
            loader.pin_memory = False
        if not persistent_workers:
            loader.persistent_workers = False
        if not loader.get("num_workers"):
            loader.pop("persistent_workers", None)  # torch refuses workers that persist without being there


def _check_schedule(config: Config) -> None:
    """Refuse schedules of the learning rate that end before they begin, as ``max_epochs`` below ``warmup_epochs`` do.

    And those over ``schedule_epochs`` that end before the training does, at a rate of zero.

    Cutting the warm-up would be another way; how short it may be is for the user to say. One of no epochs is left out.
    """
    entries = config.get("param_scheduler")
    if not isinstance(entries, list):
        return
    whole, trained = config.get("schedule_epochs"), config.train_cfg.get("max_epochs")
    # A config that is based on another may have a schedule of its own, and the name alone from there.
    used = any(entry.get("end") == whole and _falls_to_zero(entry) for entry in entries)
    if whole is not None and trained is not None and whole < trained and used:
        raise ConfigError(
            f"schedule_epochs={whole} ends before max_epochs={trained}, and the rest would train at a rate of zero; "
            f"give schedule_epochs={trained} or more: the epochs of this training and of what goes on from it."
        )
    # A warm-up of warmup_epochs=0 is none.
    config.param_scheduler = [entry for entry in entries if (entry.get("begin", 0), entry.get("end")) != (0, 0)]
    for index, entry in enumerate(config.param_scheduler):
        begin, end = entry.get("begin", 0), entry.get("end")
        if end is None or begin < end:
            continue
        warmup, epochs = config.get("warmup_epochs"), config.get("max_epochs")
        if warmup is not None and epochs is not None and warmup >= epochs:
            raise ConfigError(
                f"max_epochs={epochs} leaves no epoch after the warm-up of warmup_epochs={warmup}; give a shorter one, "
                f"--cfg-options max_epochs={epochs} warmup_epochs={min(1, epochs - 1)}, or more epochs."
            )
        raise ConfigError(
            f"param_scheduler.{index} ({entry.get('type')}) begins at {begin} and ends at {end}; set begin and end so "
            "that it has a duration."
        )


def _falls_to_zero(entry: Any) -> bool:
    return str(entry.get("type")).endswith("CosineAnnealingLR") and not (
        entry.get("eta_min") or entry.get("eta_min_ratio")
    )


def run_training(config: Config) -> MMEngineRunner:
    """Run a prepared config to its end; returns the Runner.

    Raises:
        LockedError: another process trains in the same work dir.
    """
    with locked_folder(config.work_dir, "--work-dir", config.get("launcher", "none")):
        prepare_cpu()
        runner = build_runner(config)
        runner.train()
    if dist.is_initialized():
        dist.destroy_process_group()
    return runner


def build_runner(config: Config) -> MMEngineRunner:
    """The Runner of a config: the package's own, or a class made from it that ``runner_type`` names.

    Raises:
        ConfigError: it names another class; mmengine's executes the config that a checkpoint holds on resuming.
    """
    from mmengine.registry import RUNNERS
    from mmpretrain.utils import register_all_modules

    check_output_folder(config.work_dir, "--work-dir")
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
        dist.init_process_group("gloo", timeout=wait_of(config))
    if config.get("model_wrapper_cfg") is None:
        config.model_wrapper_cfg = dict(type="MMDistributedDataParallel", device_ids=None, broadcast_buffers=False)
