"""The models of the model index, by name: ``mmssl_dynamic.list_models()`` and ``mmssl_dynamic.get_model(...)``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from mmssl_dynamic.calibration.statistics import apply_bank
from mmssl_dynamic.config_names import config_file, find_shipped, shipped_configs, shipped_file
from mmssl_dynamic.errors import ArtifactError, ConfigError, SubnetError, first_line
from mmssl_dynamic.export.families import architecture_of
from mmssl_dynamic.export.load_export import exported_weights, load_export, read_sidecar, weights_file
from mmssl_dynamic.fileio import sidecar_path
from mmssl_dynamic.loading import build_backbone, load_config, need, select_device
from mmssl_dynamic.models.backbones import StaticNetwork, SuperNetwork
from mmssl_dynamic.models.backbones.pretrained import load_backbone_weights

PathLike = str | os.PathLike[str]


def list_models(pattern: str | None = None) -> list[str]:
    """Names of the model index, sorted.

    Args:
        pattern: Shell pattern of whole names, such as ``'sdr_*'``; without ``*``, ``?`` or ``[`` any part of a name.

    Raises:
        ConfigError: the installation lacks the model index.
    """
    names = sorted(_index())
    if pattern is None:
        return names
    whole = pattern if set("*?[") & set(pattern) else f"*{pattern}*"
    return [name for name in names if fnmatchcase(name, whole)]


def get_model(
    name: PathLike | None = None,
    subnet: str | None = None,
    pretrained: PathLike | bool = False,
    bank: PathLike | None = None,
    *,
    bn: str | None = None,
    device: str | None = "cpu",
    **options: Any,
) -> nn.Module:
    """The backbone of a model: a super-network, or one of its sub-networks out of plain modules.

    Args:
        name: One of :func:`list_models`, or a config: its file, or the name of one that ships with the package. Left
            out for an export, whose sidecar tells its architecture.
        subnet: Name of the sub-network, such as ``'0-3-1-2'`` or ``'w0.75'``; the whole super-network when left out.
        pretrained: File with the weights: a checkpoint of a run with the model's config, or what ``tools/export.py``
            wrote. Random weights without one. Nothing in it is executed. ``True`` is for published weights; there are
            none yet.
        bank: BN bank of the run, for sub-networks whose BatchNorm statistics are not in its checkpoint; the one beside
            the checkpoint when left out, for a single sub-network.
        bn: ``'path'`` or ``'prefix'``: which statistics of the bank. Defaults to ``'path'``.
        device: Where to put it; ``None`` is CUDA where there is one.
        options: Of the backbone, over those of its config, such as ``out_indices=(0, 1, 2, 3)``.

    Returns:
        The backbone in evaluation mode: images (N, C, H, W) to a tuple of feature maps.

    Raises:
        ConfigError: unknown name, no published weights, or options that do not go together.
        SubnetError: the model has no such sub-network, or the file is the export of another one.
        ArtifactError: weights or bank do not fit.
        MissingStatisticsError: the sub-network has no BatchNorm statistics.

    Example:
        >>> net = get_model('sdr_simsiam_r50_256path', '0-3-1-2', 'epoch_200.pth', 'bn_bank.safetensors')
        >>> (features,) = net(images)
        >>> net = get_model(pretrained='work_dirs/backbone.pth')  # an export
    """
    if "checkpoint" in options:
        raise ConfigError(f"the file with the weights is named by pretrained={str(options['checkpoint'])!r}.")
    if pretrained is True:
        raise ConfigError(
            "no weights are published yet, so pretrained=True cannot be had; train the model and give pretrained=FILE."
        )
    weights = None if pretrained is False else pretrained
    if bank is None and bn is not None and (name is None or weights is None):
        raise ConfigError(f"bn={bn!r} chooses among the statistics of a BN bank; give bank=, too.")
    if bank is not None and weights is None:
        raise ConfigError("a BN bank belongs to a checkpoint; give pretrained=, too.")
    if weights is not None and bank is not None and (name is None or sidecar_path(weights).is_file()):
        raise ConfigError("an exported file holds its BatchNorm statistics; leave bank= out.")
    if name is None:
        if weights is None:
            raise ConfigError("which model? Give a name of list_models(), or pretrained= with an exported file.")
        net = load_export(weights, subnet, **options)
    elif weights is not None and sidecar_path(weights).is_file():
        net = _from_export(name, subnet, weights, options)
    else:
        net = _from_run(name, subnet, weights, bank, bn, options)
    net.to(select_device(device))
    net.eval()  # not chained: the eval() of mmpretrain's ResNet returns None
    return net


def _from_export(name: PathLike, subnet: str | None, file: PathLike, options: dict[str, Any]) -> nn.Module:
    """A sub-network of a model out of its export."""
    held = read_sidecar(weights_file(file))
    net = _build(name, options, subnet)
    if isinstance(net, SuperNetwork):
        raise ArtifactError(
            f"{file} holds an exported network and not the whole of '{name}'; give subnet='{held.subnet}', or leave "
            "the name out to get it."
        )
    if not isinstance(net, StaticNetwork) or net.origin is None:
        raise _one_network(name, net)
    if net.origin.subnet != held.subnet:
        raise SubnetError(f"{file} holds the sub-network '{held.subnet}' alone, not '{net.origin.subnet}'.")
    if held.architecture != architecture_of(net):
        raise ArtifactError(
            f"{file} holds {held.architecture}, and '{held.subnet}' of '{name}' is {architecture_of(net)}; correct the "
            "options of the model, or leave the name out."
        )
    net.load_state_dict(exported_weights(weights_file(file), held), strict=True)
    return net


def _from_run(
    name: PathLike,
    subnet: str | None,
    checkpoint: PathLike | None,
    bank: PathLike | None,
    bn: str | None,
    options: dict[str, Any],
) -> nn.Module:
    """A model, or a sub-network of it, with the weights of a run or random ones."""
    net = _build(name, options)
    if not isinstance(net, SuperNetwork):
        if subnet is not None or bank is not None:
            raise _one_network(name, net)
    elif subnet is not None:
        net.space.check(subnet)  # before the files are read
    if checkpoint is not None:
        load_backbone_weights(net, str(checkpoint))
    if not isinstance(net, SuperNetwork):
        return net
    if checkpoint is not None and (bank is not None or subnet is not None):
        apply_bank(net, net.subnets if subnet is None else [subnet], checkpoint, bank, bn)
    return net if subnet is None else net.static(subnet)


def _build(name: PathLike, options: dict[str, Any], subnet: str | None = None) -> nn.Module:
    """The backbone of a model with random weights; with ``subnet``, that sub-network alone."""
    config = load_config(_config_of(name))
    need(config, "model")
    config.model.backbone.update(options)
    try:
        net = build_backbone(config)
        if subnet is None or not isinstance(net, SuperNetwork):
            return net
        net.space.check(subnet)
        config.model.backbone.subnet = subnet
        return build_backbone(config)
    except TypeError as error:
        raise ConfigError(f"the backbone of '{name}' cannot be built: {first_line(error)}.") from error


def _one_network(name: PathLike, net: nn.Module) -> ConfigError:
    return ConfigError(f"the backbone of '{name}' ({type(net).__name__}) is one network; leave subnet= and bank= out.")


def _config_of(name: PathLike) -> Path:
    """The config of a model of the index, or the one that a path or a name says."""
    index, text = _index(), os.fspath(name)
    if text in index:
        return shipped_file(index[text])
    if os.path.isfile(name) or Path(name).suffix in (".py", ".yaml", ".yml", ".json"):
        return config_file(name)
    shipped = find_shipped(name)
    if shipped is None:
        near = get_close_matches(text, {*index, *(path.stem for path in shipped_configs().values())}, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "list_models() names all."
        raise ConfigError(f"unknown model '{name}': {hint}")
    return shipped


def _index() -> dict[str, str]:
    """Config files of all models of the index, by name."""
    return {entry["Name"]: entry["Config"] for entry in _entries()}


def _entries() -> Iterator[dict[str, Any]]:
    index = yaml.safe_load(shipped_file("model-index.yml").read_text(encoding="utf-8"))
    for metafile in index["Import"]:
        yield from yaml.safe_load(shipped_file(metafile).read_text(encoding="utf-8"))["Models"]
