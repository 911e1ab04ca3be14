"""The models of the model index, by name: ``mmssl_dynamic.list_models()`` and ``mmssl_dynamic.get_model(...)``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import yaml
from torch import nn

from mmssl_dynamic.calibration.bn_bank import BNBank
from mmssl_dynamic.errors import ArtifactError, ConfigError, first_line
from mmssl_dynamic.export.load_export import load_export
from mmssl_dynamic.export.static_export import sidecar_path
from mmssl_dynamic.loading import build_backbone, load_config, need, select_device, shipped_file
from mmssl_dynamic.models.backbones import SuperNetwork
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
    name: str | None = None,
    subnet: str | None = None,
    checkpoint: PathLike | None = None,
    bank: PathLike | None = None,
    pretrained: bool = False,
    *,
    bn: str | None = None,
    device: str | None = "cpu",
    **options: Any,
) -> nn.Module:
    """The backbone of a model: a super-network, or one of its sub-networks out of plain modules.

    Args:
        name: One of :func:`list_models`; left out for a file that ``tools/export.py`` wrote, whose sidecar tells the
            architecture.
        subnet: Name of the sub-network, such as ``'0-3-1-2'`` or ``'w0.75'``; the whole super-network when left out.
        checkpoint: Of a run with the model's config; random weights without one. Nothing in it is executed.
        bank: BN bank of the checkpoint, for sub-networks whose BatchNorm statistics are not in it.
        pretrained: Published weights; there are none yet.
        bn: ``'path'`` or ``'prefix'``: which statistics of the bank. Defaults to ``'path'``.
        device: Where to put it; ``None`` is CUDA where there is one.
        options: Of the backbone, over those of its config, such as ``out_indices=(0, 1, 2, 3)``.

    Returns:
        The backbone in evaluation mode: images (N, C, H, W) to a tuple of feature maps.

    Raises:
        ConfigError: unknown name, no published weights, or options that do not go together.
        SubnetError: the model has no such sub-network.
        ArtifactError: checkpoint or bank do not fit.
        MissingStatisticsError: the sub-network has no BatchNorm statistics.

    Example:
        >>> net = get_model('sdr_simsiam_r50_256path', '0-3-1-2', 'epoch_200.pth', 'bn_bank.safetensors')
        >>> (features,) = net(images)
        >>> net = get_model(checkpoint='work_dirs/backbone.pth')  # an export
    """
    if pretrained:
        raise ConfigError(
            "no weights are published yet, so pretrained=True cannot be had; train the model and give checkpoint=..."
        )
    if bank is None and bn is not None:
        raise ConfigError(f"bn={bn!r} chooses among the statistics of a BN bank; give bank=, too.")
    if bank is not None and checkpoint is None:
        raise ConfigError("a BN bank belongs to a checkpoint; give checkpoint=, too.")
    if name is None:
        if checkpoint is None:
            raise ConfigError("which model? Give a name of list_models(), or checkpoint= with an exported file.")
        if bank is not None:
            raise ConfigError("an exported file holds its BatchNorm statistics; leave bank= out.")
        net = load_export(checkpoint, subnet, **options)
    else:
        net = _from_config(name, subnet, checkpoint, bank, bn, options)
    net.to(select_device(device))
    net.eval()  # not chained: the eval() of mmpretrain's ResNet returns None
    return net


def _from_config(
    name: str,
    subnet: str | None,
    checkpoint: PathLike | None,
    bank: PathLike | None,
    bn: str | None,
    options: dict[str, Any],
) -> nn.Module:
    config = load_config(shipped_file(_config_of(name)))
    need(config, "model")
    config.model.backbone.update(options)
    try:
        net = build_backbone(config)
    except TypeError as error:
        raise ConfigError(f"the backbone of '{name}' cannot be built: {first_line(error)}.") from error
    if not isinstance(net, SuperNetwork):
        if subnet is not None or bank is not None:
            raise ConfigError(
                f"the backbone of '{name}' ({type(net).__name__}) is one network; leave subnet= and bank= out."
            )
    elif subnet is not None:
        net.space.check(subnet)  # before the files are read
    if checkpoint is not None:
        try:
            load_backbone_weights(net, str(checkpoint))
        except ArtifactError as error:
            if not sidecar_path(checkpoint).is_file():
                raise
            raise ArtifactError(
                f"{checkpoint} holds an exported network and not the whole of '{name}'; leave the name out to get it."
            ) from error
    if not isinstance(net, SuperNetwork):
        return net
    if bank is not None:
        BNBank.load(bank).apply(net, None if subnet is None else [subnet], bn or "path")
    if subnet is None:
        return net
    if checkpoint is not None:
        net.bn_statistics(subnet)  # refuses a sub-network without them
    return net.static(subnet)


def _config_of(name: str) -> str:
    index = _index()
    if name not in index:
        near = get_close_matches(name, index, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "list_models() names all."
        raise ConfigError(f"unknown model '{name}': {hint}")
    return index[name]


def _index() -> dict[str, str]:
    """Config files of all models of the index, by name."""
    return {entry["Name"]: entry["Config"] for entry in _entries()}


def _entries() -> Iterator[dict[str, Any]]:
    index = yaml.safe_load(shipped_file("model-index.yml").read_text(encoding="utf-8"))
    for metafile in index["Import"]:
        yield from yaml.safe_load(shipped_file(metafile).read_text(encoding="utf-8"))["Models"]
