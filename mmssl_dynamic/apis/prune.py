"""From the checkpoint of a training to one whose backbone is pruned."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.loading import build_backbone, load_backbone, load_config
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.pruning import num_nonzero, prune_by_magnitude
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.writing import save_torch


def subnet_size(config: str | os.PathLike[str], name: str | None = None) -> int:
    """Parameters of a sub-network of the super-network in ``config``.

    Args:
        config: Pre-training config of a super-network.
        name: The sub-network; the first of all by default (SDR's have one size).

    Raises:
        ConfigError: the config has no super-network.
        SubnetError: it has no such sub-network.
    """
    net = build_backbone(load_config(config))
    if not isinstance(net, SuperNetwork):
        raise ConfigError(f"{config} has no super-network; give the config whose sub-networks are to be matched.")
    return int(net.num_parameters(name or net.space.names[0]))


@locks_folder()
def prune_checkpoint(
    config: str | os.PathLike[str],
    checkpoint: str | os.PathLike[str],
    out: str | os.PathLike[str],
    num_weights: int,
    cfg_options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a checkpoint whose backbone is pruned by magnitude; projector and predictor stay.

    Args:
        config: Config that the checkpoint was trained with.
        checkpoint: Of that training.
        out: Folder for ``pruned.pth``, to be named in ``load_from``.
        num_weights: Parameters of the backbone to keep.
        cfg_options: Overrides of the config.

    Returns:
        ``before`` and ``after``, numbers of parameters, ``layers``, the share of each layer that is left, and ``file``.

    Raises:
        ConfigError: ``num_weights`` is out of range.
        ArtifactError: the checkpoint does not fit the config.
    """
    check_output_folder(out)
    backbone = load_backbone(load_config(config, cfg_options), checkpoint, "cpu")
    before = sum(p.numel() for p in backbone.parameters())
    layers = prune_by_magnitude(backbone, num_weights)
    state = load_state_dict(checkpoint)
    prefix = "backbone." if any(key.startswith("backbone.") for key in state) else ""  # or a backbone's own weights
    state.update({f"{prefix}{key}": value for key, value in backbone.state_dict().items()})
    file = Path(out) / "pruned.pth"
    save_torch({"state_dict": state}, file)
    return {"before": before, "after": num_nonzero(backbone), "layers": layers, "file": str(file)}
