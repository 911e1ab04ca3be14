"""Weights for a backbone out of a file: strictly, and without executing what the file holds."""

from __future__ import annotations

from contextlib import AbstractContextManager
from contextvars import ContextVar

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmssl_dynamic.context import holding
from mmssl_dynamic.errors import ArtifactError, SubnetError
from mmssl_dynamic.fileio import load_state_dict, read_json, sidecar_path
from mmssl_dynamic.models.backbones.slimmable import check_networks, with_switches
from mmssl_dynamic.registry import WEIGHT_INITIALIZERS

# Of packages that this one must not import: the registry finds them.
_SUBNET = "mmssl_dynamic.PretrainedSubnet"
_INITIALISERS = (_SUBNET, "mmssl_dynamic.FromPlain")
_wanted = ContextVar("_wanted", default=True)


def without_weights() -> AbstractContextManager[None]:
    """Networks that need trained weights are built without them, for what is only counted."""
    return holding(_wanted, False)


def weights_wanted() -> bool:
    """Whether networks are built to be used, and not within :func:`without_weights`."""
    return _wanted.get()


def load_pretrained(module: BaseModule) -> bool:
    """Load the checkpoint that ``init_cfg`` names; whether it names one.

    ``Pretrained`` loads by :func:`load_backbone_weights`, ``mmssl_dynamic.PretrainedSubnet`` out of a super-network and
    ``mmssl_dynamic.FromPlain`` a plain network into a super-network.

    Raises:
        ArtifactError: as there.
    """
    configs = module.init_cfg if isinstance(module.init_cfg, list) else [module.init_cfg or {}]
    pretrained = next((config for config in configs if config.get("type") in ("Pretrained", *_INITIALISERS)), None)
    if pretrained is None:
        return False
    if pretrained["type"] in _INITIALISERS:
        WEIGHT_INITIALIZERS.build(pretrained)(module)
    else:
        load_backbone_weights(module, pretrained["checkpoint"], pretrained.get("prefix"))
    module._is_init = True
    return True


def load_backbone_weights(module: nn.Module, checkpoint: str, prefix: str | None = None) -> None:
    """Load a file's weights into a backbone, strictly.

    Args:
        module: The backbone.
        checkpoint: A file of :func:`mmssl_dynamic.fileio.load_state_dict`'s kinds.
        prefix: Part of the keys to strip, such as ``'backbone.'``; found by itself when left out.

    Raises:
        ArtifactError: weights are missing or have other shapes; the message names the first.
        SubnetError: the file is an export of another sub-network than ``module``, as its sidecar says. All paths of
            SDR have the same shapes.
    """
    _check_sidecar(module, checkpoint)
    state = load_state_dict(checkpoint)
    stem = prefix.rstrip(".").removeprefix("module.") + "." if prefix else ""
    if prefix is None and not any(name in state for name in module.state_dict()):
        stem = "backbone."
    state = {name.removeprefix(stem): tensor for name, tensor in state.items() if name.startswith(stem)}
    _load_strictly(module, state, checkpoint)


def _check_sidecar(module: nn.Module, checkpoint: str) -> None:
    origin, file = getattr(module, "origin", None), sidecar_path(checkpoint)
    if origin is None or not file.is_file():
        return
    sidecar = read_json(file, "sidecar")
    held = sidecar.get("subnet") if isinstance(sidecar, dict) else None
    if held is not None and held != origin.subnet:
        raise SubnetError(
            f"{checkpoint} holds the sub-network '{held}' and not '{origin.subnet}', for which the backbone was built; "
            f"give the export of that one, or the backbone subnet='{held}'."
        )


def _load_strictly(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    own = module.state_dict()
    plain = "switches" in own and len(state.get("switches", ())) < 2
    if "switches" in own:
        any_width = getattr(module, "any_width", False)
        check_networks(own["switches"], state.get("switches"), f"checkpoint {source}", any_width)
        state = with_switches(state, own, source)
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    if missing:
        raise ArtifactError(
            f"checkpoint {source} lacks {len(missing)} of the backbone's {len(own)} tensors, first '{missing[0]}'; "
            "give a checkpoint of this architecture."
        )
    wrong = next((name for name in own if name in state and state[name].shape != own[name].shape), None)
    if wrong is not None:
        holder, remedy = "backbone", "correct the backbone's options"
        if plain:
            holder, remedy = "backbone's largest network", f"give weights of a network of that width or {remedy}"
        elif "switches" not in own:
            remedy = (
                f"export the sub-network first (tools/export.py), take it out of the super-network by init_cfg=dict("
                f"type='{_SUBNET}', checkpoint=..., bank=...), or {remedy}"
            )
        raise ArtifactError(
            f"checkpoint {source} has '{wrong}' of shape {tuple(state[wrong].shape)} where the {holder} has "
            f"{tuple(own[wrong].shape)}; {remedy}."
        )
    module.load_state_dict({name: state[name] for name in own if name in state}, strict=False)
