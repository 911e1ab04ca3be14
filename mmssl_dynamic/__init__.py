"""mmssl_dynamic: one self-supervised super-network that holds a backbone for every task and device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmssl_dynamic.version import __version__

if TYPE_CHECKING:
    from mmssl_dynamic.apis.zoo import get_model, list_models

__all__ = ["__version__", "get_model", "list_models"]


def __getattr__(name: str) -> Any:
    # Only when asked for: they import torch and mmpretrain, and a registry or a command line's --help needs neither.
    if name in ("get_model", "list_models"):
        from mmssl_dynamic.apis import zoo

        return getattr(zoo, name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
