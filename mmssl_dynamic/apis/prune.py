"""From the checkpoint of a training to one whose backbone is pruned: what ``mmssl-dynamic prune`` does."""

from __future__ import annotations

import os
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.loading import build_backbone, load_backbone, loaded
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.pruning import num_nonzero, prune_by_magnitude
from mmssl_dynamic.outputs import beside, check_output_folder
from mmssl_dynamic.writing import save_torch

PathLike = str | os.PathLike[str]


def subnet_size(config: PathLike | Config, name: str | None = None) -> int:
    """Parameters of a sub-network of the super-network in ``config``.

    Args:
        config: Pre-training config of a super-network, or its file.
        name: The sub-network; the first of all by default (SDR's have one size).

    Raises:
        ConfigError: the config has no super-network.
        SubnetError: it has no such sub-network.
    """
    cfg = loaded(config)
    net = build_backbone(cfg)
    if not isinstance(net, SuperNetwork):
        raise ConfigError(f"{cfg.filename} has no super-network; give the config whose sub-networks are to be matched.")
    return int(net.num_parameters(name or net.space.names[0]))


@locks_folder(default="pruned")
def prune(
    config: PathLike | Config,
    checkpoint: PathLike,
    out: PathLike | None = None,
    *,
    num_weights: int,
) -> dict[str, Any]:
    """Write a checkpoint whose backbone is pruned by magnitude; projector and predictor stay.

    Args:
        config: Config that the checkpoint was trained with, or its file.
        checkpoint: File with the weights of that training.
        out: Folder for ``pruned.pth``, to be named in ``load_from``; ``pruned`` beside the checkpoint when left out.
        num_weights: Parameters of the backbone to keep; :func:`subnet_size` tells those of a sub-network.

    Returns:
        ``before`` and ``after``, numbers of parameters, ``layers``, the share of each layer that is left, and ``file``.

    Raises:
        ConfigError: ``num_weights`` is out of range.
        ArtifactError: the checkpoint does not fit the config.
    """
    folder = beside(out, checkpoint, "pruned")
    check_output_folder(folder)
    backbone = load_backbone(loaded(config), checkpoint, "cpu")
    before = sum(p.numel() for p in backbone.parameters())
    layers = prune_by_magnitude(backbone, num_weights)
    state = load_state_dict(checkpoint)
    prefix = "backbone." if any(key.startswith("backbone.") for key in state) else ""  # or a backbone's own weights
    state.update({f"{prefix}{key}": value for key, value in backbone.state_dict().items()})
    file = folder / "pruned.pth"
    save_torch({"state_dict": state}, file)
    return {"before": before, "after": num_nonzero(backbone), "layers": layers, "file": str(file)}
