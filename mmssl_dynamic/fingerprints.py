"""What results depend on, as short texts that change when it does: settings, statistics, networks, files.

Weights have :func:`mmssl_dynamic.fileio.weights_fingerprint`, the images of data sets
:func:`mmssl_dynamic.datasets.fingerprint.images_record`. All are SHA-256 in hexadecimal.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path, PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.fileio import weights_fingerprint

# Beside site-packages: this package, also in a checkout, and Python's own modules.
_INSTALLED = (Path(__file__).resolve().parent, *(Path(sysconfig.get_paths()[key]) for key in ("stdlib", "platstdlib")))
_STAT_CHUNK = 2048
_NAME_DIGITS = 8  # of SHA-256 in the name of a file, as in torch's and OpenMMLab's
_STAT_THREADS = 16  # file systems behind a network answer many questions at a time; a local disk loses nothing by it


def hash_in_name(data: bytes) -> str:
    """What stands for the content of a file in its name: the first digits of its SHA-256."""
    return hashlib.sha256(data).hexdigest()[:_NAME_DIGITS]


def fingerprint(value: Any, what: str) -> str:
    """Fingerprint of any settings: those that :func:`described` gives the same text have the same.

    Args:
        value: Plain data, or objects such as the transforms of a pipeline.
        what: What it is, for messages.

    Raises:
        ConfigError: as :func:`described`.
    """
    return sha256(json.dumps(described(value, what), sort_keys=True))


def sha256(text: str) -> str:
    """SHA-256 of a text, which may hold file names that are no UTF-8."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def described(value: Any, what: str) -> Any:
    """Settings as data that JSON can hold, equal in every process that has equal settings.

    Objects are described by their class and their whole state, not by their ``repr``: most transforms leave some of
    their parameters out of it, and others have none.

    Args:
        value: Plain data, arrays, or objects that could be pickled.
        what: What it is, for messages.

    Raises:
        ConfigError: some of it cannot be described, so that nobody could tell whether it has changed.
    """
    return _described(value, what, ())


def _described(value: Any, what: str, holders: tuple[int, ...]) -> Any:
    if value is None or type(value) in (bool, int, float, str):
        return value
    if id(value) in holders:  # an object that holds itself
        return f"<{len(holders) - holders.index(id(value))} up>"
    inside = (*holders, id(value))

    def inner(part: Any) -> Any:
        return _described(part, what, inside)

    if isinstance(value, enum.Enum):
        return [_name(type(value)), value.name]
    if isinstance(value, np.generic):
        return inner(value.item())
    if isinstance(value, (str, int, float)):  # of classes of their own
        return next(kind(value) for kind in (str, int, float) if isinstance(value, kind))
    if isinstance(value, bytes):
        return {"bytes": hashlib.sha256(value).hexdigest()}
    if isinstance(value, PurePath):
        return os.fspath(value)
    if isinstance(value, (Tensor, np.ndarray)):
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.ascontiguousarray(value))
        return {"tensor": weights_fingerprint({"": tensor})}
    if isinstance(value, Mapping):
        pairs = [[inner(key), inner(part)] for key, part in value.items()]
        plain = all(isinstance(key, str) for key, _ in pairs)
        return dict(pairs) if plain else {"pairs": sorted(pairs, key=lambda pair: json.dumps(pair, sort_keys=True))}
    if isinstance(value, (list, tuple)):
        return [inner(part) for part in value]
    if isinstance(value, (set, frozenset)):
        return {"set": sorted((inner(part) for part in value), key=lambda part: json.dumps(part, sort_keys=True))}
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type) or (isinstance(value, FunctionType) and "<" not in value.__qualname__):
        return _name(value)
    if isinstance(value, FunctionType):  # a lambda, or one out of another function: by what it does and has taken along
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        return [
            value.__qualname__,
            *map(inner, (*_code(value.__code__), value.__defaults__, value.__kwdefaults__, cells)),
        ]
    if isinstance(value, MethodType):
        return [inner(value.__self__), value.__name__]
    return _state(value, what, inside)


def _name(value: Any) -> str:
    """Name of a class or function, with the code of its module where that is a user's own.

    Installed packages have versions, and this one has those of its computations; a transform or a score of one's own is
    edited, and keeps its name.
    """
    code = _own_code(value.__module__)
    return f"{value.__module__}.{value.__qualname__}" + (f" {code}" if code else "")


@cache
def _own_code(module: str) -> str | None:
    """Fingerprint of a module's file, as it was when this was first asked; ``None`` for what is installed."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not os.path.isfile(file) or {"site-packages", "dist-packages"} & set(Path(file).parts):
        return None
    return None if any(Path(file).is_relative_to(folder) for folder in _INSTALLED) else file_fingerprint(file)


def _code(code: CodeType) -> list[Any]:
    constants = [_code(part) if isinstance(part, CodeType) else part for part in code.co_consts]
    return [code.co_code, list(code.co_names), constants]


def _state(value: Any, what: str, holders: tuple[int, ...]) -> Any:
    """An object by what pickle would write of it."""
    try:
        reduced = value.__reduce_ex__(2)
    except (TypeError, AttributeError) as error:
        raise ConfigError(
            f"{what} holds a {type(value).__name__}, whose settings cannot be read, so nobody could tell whether kept "
            "results still fit it; replace it by plain values."
        ) from error
    if isinstance(reduced, str):
        return f"{type(value).__module__}.{reduced}"
    maker, arguments, *rest = reduced
    state, items, pairs = (*rest, None, None, None)[:3]
    parts = [
        _name(maker) if hasattr(maker, "__qualname__") else repr(maker),
        list(arguments),
        state,
        None if items is None else list(items),
        None if pairs is None else list(pairs),
    ]
    return [_described(part, what, holders) for part in parts]


def statistics_fingerprint(statistics: Mapping[str, tuple[Tensor, Tensor]]) -> str:
    """Fingerprint of a network's BatchNorm statistics, which that of its weights leaves out.

    Args:
        statistics: Mean and variance of each layer, by the layer's name.
    """
    return weights_fingerprint(
        {f"{layer}/{i}": part for layer, pair in statistics.items() for i, part in enumerate(pair)}
    )


def running_statistics(module: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of every layer of plain modules that keeps them."""
    state = module.state_dict()
    layers = [key.removesuffix("running_mean") for key in state if key.endswith("running_mean")]
    return {layer.rstrip("."): (state[f"{layer}running_mean"], state[f"{layer}running_var"]) for layer in layers}


def architecture_fingerprint(module: nn.Module) -> str:
    """Fingerprint of what a network computes with its weights: classes of all modules and their plain attributes.

    Strides, dilations, epsilons and the like change a network's outputs and leave its weights as they are.
    """
    lines = []
    for name, part in module.named_modules():
        known = {
            key: value
            for key, value in vars(part).items()
            if not key.startswith("_") and key not in ("training", "init_cfg") and _is_plain(value)
        }
        lines.append(f"{name} {_name(type(part))} {json.dumps(described(known, 'a network'), sort_keys=True)}")
    space: Any = getattr(module, "space", None)
    if hasattr(space, "record"):
        lines.append(json.dumps(described(space.record(), "a super-network"), sort_keys=True))
    return sha256("\n".join(lines))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    if isinstance(value, Mapping):
        return all(map(_is_plain, value.values()))
    return value is None or isinstance(value, (bool, int, float, str))


def precision(device: torch.device | str) -> str:
    """How a device computes: what changes more of a result than its last bits.

    The kind of device alone does not: our reading is that rounding makes no other result. TF32, which CUDA takes for
    convolutions unless told otherwise, drops 13 of 23 bits of the mantissa; autocast drops more.
    """
    kind = torch.device(device).type
    found = [str(torch.get_default_dtype()).removeprefix("torch.")]
    if kind == "cuda":
        found += [f"{what} in tf32" for what, used in _tf32().items() if used]
    if torch.is_autocast_enabled(kind):
        found.append(f"autocast to {str(torch.get_autocast_dtype(kind)).removeprefix('torch.')}")
    return ", ".join(found)


def _tf32() -> dict[str, bool]:
    cudnn: Any = torch.backends.cudnn
    matmul = torch.backends.cuda.matmul
    if hasattr(getattr(cudnn, "conv", None), "fp32_precision"):  # torch 2.9: reading the old flags may raise an error
        return {"convolutions": cudnn.conv.fp32_precision == "tf32", "products": matmul.fp32_precision == "tf32"}
    return {"convolutions": cudnn.allow_tf32, "products": matmul.allow_tf32}


def file_fingerprint(path: str | os.PathLike[str]) -> str:
    """Fingerprint of what a file holds."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def content_fingerprint(path: str | os.PathLike[str]) -> str | None:
    """Fingerprint of what a file holds, or a folder with all that is below it; ``None`` if there is nothing."""
    if os.path.isfile(path):
        return file_fingerprint(path)
    if not os.path.isdir(path):
        return None
    files = sorted(os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sha256("\n".join(f"{os.path.relpath(file, path)}\0{file_fingerprint(file)}" for file in files))


def files_state(paths: Sequence[str | os.PathLike[str]]) -> list[tuple[str, str]]:
    """Size and time of last change of each file, about 2 s for a million files on a local disk.

    Addresses such as ``s3://bucket/image.jpg`` have neither: they are told apart by name alone.

    Raises:
        DataError: a file is missing.
    """
    chunks = [paths[start : start + _STAT_CHUNK] for start in range(0, len(paths), _STAT_CHUNK)]
    if len(chunks) < 2:
        return [state for chunk in chunks for state in _states(chunk)]
    with ThreadPoolExecutor(_STAT_THREADS) as pool:
        return [state for part in pool.map(lambda chunk: list(_states(chunk)), chunks) for state in part]


def _states(paths: Sequence[str | os.PathLike[str]]) -> Iterator[tuple[str, str]]:
    for path in paths:
        try:
            found = os.stat(path)
        except OSError as error:
            if "://" in str(path):
                yield "address", ""
                continue
            name = ascii(os.fspath(path)) if not str(path).isprintable() else path
            raise DataError(
                f"image {name} is listed but not there ({error.strerror}); put it back, or unpack the data set anew."
            ) from error
        yield str(found.st_size), str(found.st_mtime_ns)
