"""From a config and a checkpoint to a backbone that can be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from mmengine.config import Config
from torch import nn

from mmssl_dynamic.config_names import shipped_file
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import load_run_checkpoint, local_file
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.backbones.layers import on_one_device
from mmssl_dynamic.models.backbones.pretrained import load_backbone_weights
from mmssl_dynamic.options.config_file import read_both
from mmssl_dynamic.options.custom_imports import import_custom_modules
from mmssl_dynamic.options.known import check_names
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.safe_loading import safe_loading

_OPTIONS = "_options_of_load_config"
PathLike = str | os.PathLike[str]


def load_config(path: str | os.PathLike[str], cfg_options: dict[str, Any] | None = None) -> Config:
    """Read a config file as if ``--cfg-options`` had been written into it.

    A ``.py`` config is a program by design and is executed, like those that it is based on: run only what you trust.
    Configs in YAML and JSON are data, and stay data.

    An option that names a top-level value, such as ``data_root=/images`` or ``norm_cfg.type=BN``, reaches every place
    in the config that is made from it, which mmengine's merging alone does not; see
    :func:`mmssl_dynamic.options.config_file.read_both`.

    Args:
        path: Config file, or the name of one that ships with the package.
        cfg_options: Values by their names, with dots.

    Raises:
        ConfigError: the file is missing or is no valid config, a module that it imports fails, or an option is
            unknown, has no place in it or changes nothing.
    """
    options = cfg_options or {}
    before, config = read_both(path, options)
    import_custom_modules(config)
    check_names(before, config, options)
    object.__setattr__(config, _OPTIONS, dict(options))  # beside the values, as mmengine keeps the name of the file
    return config


def loaded(config: PathLike | Config) -> Config:
    """A config that a verb was given: read from its file, or already loaded, perhaps with options of one's own.

    Raises:
        ConfigError: as :func:`load_config`.
    """
    return config if isinstance(config, Config) else load_config(config)


def source_of(config: Config) -> tuple[str, dict[str, Any]]:
    """File of a config, and the options that :func:`load_config` read it with: what builds it again.

    Raises:
        ConfigError: it was made in Python, so that a result could not say what it is the result of.
    """
    if config.filename is None:
        raise ConfigError("a config without a file cannot be named in results; write it to one with config.dump(FILE).")
    return str(config.filename), dict(vars(config).get(_OPTIONS, {}))


def find_config(name: str) -> Path:
    """A config that ships with the package, by its path below ``configs/``.

    Raises:
        ConfigError: there is no such config.
    """
    return shipped_file(f"configs/{name}")


def need(config: Config, *keys: str) -> None:
    """Raise a ConfigError if the config lacks one of ``keys``, saying which."""
    for key in keys:
        if config.get(key) is None:
            raise ConfigError(f"config {config.filename} does not define '{key}'; start from a file in configs/sdr.")


def training_pipeline(config: Config, remedy: str = "add it") -> list[dict[str, Any]]:
    """What the training images of a config go through, whatever data sets are wrapped around the one that has it.

    Args:
        config: The config.
        remedy: For the message, where there is none.

    Raises:
        ConfigError: the config has no training images, or no pipeline for them.
    """
    need(config, "train_dataloader")
    dataset: Any = config.train_dataloader.get("dataset") or {}
    while dataset.get("pipeline") is None and dataset.get("dataset") is not None:
        dataset = dataset.dataset
    if dataset.get("pipeline") is None:
        raise ConfigError(f"config {config.filename} names no pipeline in train_dataloader.dataset; {remedy}.")
    return list(dataset.pipeline)


def data_preprocessor(config: Config) -> dict[str, Any]:
    """The config of the data preprocessor that a training with ``config`` has.

    mmengine's Runner puts the one at the top level into a model that has none of its own.

    Raises:
        ConfigError: there is none.
    """
    need(config, "model")
    found = config.model.get("data_preprocessor", config.get("data_preprocessor"))
    if not isinstance(found, dict):
        raise ConfigError(
            f"config {config.filename} has no data_preprocessor, neither in its model nor at the top, and nothing else "
            "says how images are normalised; take it over from the pre-training, such as data_preprocessor=dict("
            "mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)."
        )
    return dict(found)


def normalisation_of(config: Config) -> Normalisation:
    """How images are normalised for the network of a config.

    Raises:
        ConfigError: as :func:`data_preprocessor`, or it does something else to images.
    """
    return Normalisation.of(data_preprocessor(config))


def select_device(name: str | None = None) -> torch.device:
    """The device of that name; without one, CUDA where there is one.

    Raises:
        ConfigError: there is no such device here.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name} is not available on this machine; use 'cpu' or another one.") from error
    return device


def device_of(name: str | None, processes: Processes) -> torch.device:
    """As :func:`select_device`, in one of several processes: of several GPUs the one that its launcher gave it."""
    device = select_device(name)
    if processes.count > 1 and device.type == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return device


def build_backbone(config: Config) -> nn.Module:
    """The backbone of a pre-training config, without loading weights."""
    from mmpretrain.registry import MODELS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    need(config, "model")
    backbone = dict(config.model.backbone)
    backbone.pop("init_cfg", None)
    if backbone.get("norm_cfg"):
        # Evaluation runs on one device: plain BatchNorm has the same parameters and needs no process group.
        backbone["norm_cfg"] = on_one_device(backbone["norm_cfg"])
    with safe_loading(), MODELS.switch_scope_and_registry("mmpretrain") as registry:
        return registry.build(backbone)


def load_backbone(
    config: Config, checkpoint: str | os.PathLike[str], device: str | torch.device | None = None
) -> nn.Module:
    """Build the backbone of a pre-training config and load its weights, strictly, from a checkpoint.

    Args:
        config: Pre-training config.
        checkpoint: Of a run (keys begin with ``backbone.``), or a backbone's own weights.
        device: Where to put it.

    Returns:
        The backbone in evaluation mode.

    Raises:
        ArtifactError: the checkpoint does not fit the config.
    """
    backbone = build_backbone(config)
    load_backbone_weights(backbone, str(checkpoint))
    target = device if isinstance(device, torch.device) else select_device(device)
    backbone.to(target)
    backbone.eval()  # not chained: the eval() of mmpretrain's ResNet returns None
    return backbone


def load_super_network(
    config: PathLike | Config, checkpoint: PathLike, device: str | torch.device | None = None
) -> tuple[Config, SuperNetwork]:
    """Config and super-network of a pre-training run.

    Raises:
        ConfigError: the config's backbone is no super-network.
        ArtifactError: the checkpoint does not fit the config.
    """
    cfg = loaded(config)
    net = load_backbone(cfg, checkpoint, device)
    if not isinstance(net, SuperNetwork):
        raise ConfigError(
            f"the backbone of config {cfg.filename} ({type(net).__name__}) has no sub-networks; give the config of an "
            "SDR or DSPNet run."
        )
    return cfg, net


class LastRate(NamedTuple):
    """Where the schedule of a learning rate was.

    Attributes:
        rate: The learning rate, as it was used: scaled to the batch size, if it was.
        share: That over the one which the schedule began with.
    """

    rate: float
    share: float


def last_rate(checkpoint: PathLike) -> LastRate | None:
    """Learning rate of the backbone that a training had come to when it wrote a checkpoint.

    Returns:
        The rate; ``None`` if the file holds weights alone.

    Raises:
        ArtifactError: the file is missing or broken.
    """
    file = local_file(checkpoint)
    if file.suffix == ".safetensors":
        return None
    optimizer = load_run_checkpoint(file, mmap=True).get("optimizer")
    groups = optimizer.get("param_groups") if isinstance(optimizer, dict) else None
    if not groups:
        return None
    rate = float(groups[0]["lr"])  # the backbone's parameters are the model's first
    first = float(groups[0].get("initial_lr", rate))  # schedules note it
    return LastRate(rate, rate / first if first else 0.0)
