"""Training by compiled networks: ``--compile``, or ``compile`` in the config.

mmengine compiles the whole training step. Here the backbones are compiled, those of target networks, too, and what
stands behind them stays as it is: it is a hundredth of the work, and losses, hooks and the optimiser's step are Python
that no graph could hold.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mmssl_dynamic.errors import ConfigError, first_line


def compile_options(value: Any) -> dict[str, Any] | None:
    """Options of ``torch.compile`` from the config's ``compile``: ``None`` for no compilation.

    Args:
        value: ``True``, ``False``, ``None``, or the options, such as ``dict(mode='max-autotune-no-cudagraphs')``.

    Raises:
        ConfigError: it is something else, torch does not know an option, or this machine cannot compile.
    """
    if value is None or value is False:
        return None
    if value is not True and not isinstance(value, Mapping):
        raise ConfigError(
            f"compile={value!r} must be True, False, or options of torch.compile, such as dict(mode=...)."
        )
    options = {} if value is True else dict(value)
    backend = options.get("backend", "inductor")
    if isinstance(backend, str):
        known = torch.compiler.list_backends(exclude_tags=())
        if backend not in known:
            usual = torch.compiler.list_backends()  # without those that are for debugging
            raise ConfigError(f"compile.backend='{backend}' is not known; leave it out, or use one of {sorted(usual)}.")
    if (lacking := _lacking(backend)) is not None:
        raise ConfigError(f"--compile cannot work here: {lacking}; leave it out (compile in the config).")
    try:
        torch.compile(nn.Identity(), **options)  # compiles nothing yet
    except (AttributeError, RuntimeError, TypeError) as error:
        raise ConfigError(
            f"compile={options} is nothing that torch.compile takes ({first_line(error)}); correct it in the config."
        ) from error
    return options


def _lacking(backend: Any) -> str | None:
    """What this machine lacks to compile."""
    from torch._dynamo import is_dynamo_supported

    if not is_dynamo_supported():
        return "torch.compile does not support this version of Python"
    if backend != "inductor":
        return None
    if not torch.cuda.is_available():
        return _lacking_cpp()
    from torch.utils._triton import has_triton

    if not has_triton():
        return "torch finds no Triton that knows this card, which has to be of compute capability 7.0 or newer"
    compilers = (os.environ.get("CC"), "gcc", "clang")
    if not any(name and shutil.which(name) for name in compilers):
        return "there is no C compiler, which Triton needs (gcc, clang, or the environment variable CC)"
    return None


def _lacking_cpp() -> str | None:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return "there is no C++ compiler (g++, or the environment variable CXX)"
    return None


def compile_backbones(model: nn.Module, options: Mapping[str, Any]) -> None:
    """Compile the backbone of a model, and those like it inside of target networks, when they first run.

    Args:
        model: Without a wrapper for several devices.
        options: Of ``torch.compile``.

    Raises:
        ConfigError: the model has no backbone, or one that cannot be compiled.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ConfigError(
            f"{type(model).__name__} has no backbone to compile; leave out --compile (compile in the config)."
        )
    for module in model.modules():
        if type(module) is type(backbone):
            module.compile(**options)
