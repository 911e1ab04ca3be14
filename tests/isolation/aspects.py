"""What is global in a process that trains: how to read each aspect of it, and how to put it back."""

from __future__ import annotations

import locale
import logging
import multiprocessing
import os
import random
import signal
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.distributed as dist
from PIL import Image, ImageFile
from torch.nn.modules import module as torch_module

SEED = 0
_ABSENT = object()
State = dict[str, Any]


def seed_everything() -> None:
    """The numbers that every test starts from."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)


class Aspect:
    """A part of the global state, as values by name.

    Attributes:
        name: In messages.
        expected: Any training changes it: a test may leave it to the plugin to put it back.
    """

    name: str
    expected = False

    def read(self) -> State:
        """Its values now: copies, or objects that nobody changes."""
        raise NotImplementedError

    def write(self, state: State) -> None:
        """Put earlier values back, and take away what was not there."""
        raise NotImplementedError

    def changed(self, old: State, now: State) -> list[str]:
        """Names whose values differ."""
        return [key for key in {**old, **now} if not same(old.get(key, _ABSENT), now.get(key, _ABSENT))]

    def reported(self, key: str, old: State, now: State) -> bool:
        """Whether a test that changed what has this name fails."""
        return not self.expected


def same(old: Any, now: Any) -> bool:
    """Whether two values are equal."""
    if old is now:
        return True
    if isinstance(old, torch.Tensor | np.ndarray):
        return bool((old == now).all())
    if isinstance(old, tuple) and isinstance(now, tuple):
        return len(old) == len(now) and all(map(same, old, now))
    return bool(old == now)


# (what, getter, setter)
Value = tuple[str, Callable[[], Any], Callable[[Any], Any]]


class Values(Aspect):
    """Settings that have a getter and a setter each."""

    def __init__(self, name: str, *values: Value, expected: bool = False) -> None:
        self.name, self.values, self.expected = name, values, expected

    def read(self) -> State:
        return {what: get() for what, get, _ in self.values}

    def write(self, state: State) -> None:
        for what, get, put in self.values:
            if not same(state[what], get()):
                put(state[what])


def _attribute(owner: Any, name: str) -> Value:
    return f"{owner.__name__}.{name}", lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


def _signal(number: signal.Signals) -> Value:
    return number.name, partial(signal.getsignal, number), partial(signal.signal, number)


def _items(what: str, items: list) -> Value:
    def put(values: tuple) -> None:
        items[:] = values

    return what, lambda: tuple(items), put


def _hooks(name: str) -> Value:
    hooks = getattr(torch_module, name)

    def put(values: tuple) -> None:
        hooks.clear()
        hooks.update(values)

    return f"hooks of all modules ({name})", lambda: tuple(hooks.items()), put


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return "(a folder that is gone)"


_TORCH = Values(
    "torch's",
    ("default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("default device", torch.get_default_device, torch.set_default_device),
    ("number of threads", torch.get_num_threads, torch.set_num_threads),
    ("grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
    ("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    ("matmul precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ("sharing strategy", torch.multiprocessing.get_sharing_strategy, torch.multiprocessing.set_sharing_strategy),
    (
        "deterministic algorithms",
        _deterministic,
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    *(_attribute(torch.backends.cudnn, name) for name in ("enabled", "benchmark", "deterministic", "allow_tf32")),
    *(_hooks(f"_global_{kind}hooks") for kind in ("forward_", "forward_pre_", "backward_", "backward_pre_")),
)
_SETTINGS = Values(
    "setting",
    ("working directory", _working_directory, os.chdir),
    ("locale", lambda: locale.setlocale(locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
    _items("sys.path", sys.path),
    _items("sys.argv", sys.argv),
    _signal(signal.SIGINT),
    _signal(signal.SIGTERM),
    ("numpy.seterr", np.geterr, lambda value: np.seterr(**value)),
    ("numpy.set_printoptions", np.get_printoptions, lambda value: np.set_printoptions(**value)),
    _attribute(Image, "MAX_IMAGE_PIXELS"),
    _attribute(ImageFile, "LOAD_TRUNCATED_IMAGES"),
)
_RANDOM = Values(
    "random numbers of",
    ("random", random.getstate, random.setstate),
    ("numpy", np.random.get_state, np.random.set_state),
    ("torch", torch.get_rng_state, torch.set_rng_state),
    expected=True,
)
# mmengine's Runner sets the start method; imports add filters for warnings.
_PROCESS = Values(
    "process-wide",
    (
        "multiprocessing start method",
        partial(multiprocessing.get_start_method, allow_none=True),
        partial(multiprocessing.set_start_method, force=True),
    ),
    _items("warnings.filters", warnings.filters),
    expected=True,
)


class Environment(Aspect):
    """Environment variables, without those that imports set."""

    name = "environment variable"

    # Of torch, scikit-learn and OpenCV when they are imported, of pytest; and what our own train() sets on the CPU.
    _LEFT_ALONE = ("KMP_", "TORCHINDUCTOR_", "QT_QPA_", "LD_LIBRARY_PATH", "PYTEST_", "ONEDNN_PRIMITIVE_CACHE")

    def read(self) -> State:
        return {key: value for key, value in os.environ.items() if not key.startswith(self._LEFT_ALONE)}

    def write(self, state: State) -> None:
        for key in set(self.read()) - set(state):
            del os.environ[key]
        os.environ.update(state)


class Logging(Aspect):
    """Levels and handlers of the loggers that there are."""

    name = "logger"

    def read(self) -> State:
        known = logging.root.manager.loggerDict.items()
        loggers = [("root", logging.root), *((n, found) for n, found in known if isinstance(found, logging.Logger))]
        return {name: (entry.level, tuple(entry.handlers), entry.propagate, entry.disabled) for name, entry in loggers}

    def write(self, state: State) -> None:
        for name, (level, handlers, propagate, disabled) in state.items():
            entry = logging.getLogger(None if name == "root" else name)
            entry.setLevel(level)
            entry.handlers[:], entry.propagate, entry.disabled = handlers, propagate, disabled

    def changed(self, old: State, now: State) -> list[str]:
        return [key for key in old if not same(old[key], now.get(key))]  # new ones are of imports


class Figures(Aspect):
    """Matplotlib's settings and open figures."""

    name = "matplotlib's"

    def read(self) -> State:
        return {**plt.rcParams, "open figures": tuple(plt.get_fignums())}

    def write(self, state: State) -> None:
        for number in plt.get_fignums():
            if number not in state["open figures"]:
                plt.close(number)
        dict.update(plt.rcParams, {key: value for key, value in state.items() if key != "open figures"})


class ProcessGroup(Aspect):
    """torch's default process group."""

    name = "torch.distributed's"

    def read(self) -> State:
        return {"process group": dist.is_available() and dist.is_initialized()}

    def write(self, state: State) -> None:
        if not state["process group"]:
            dist.destroy_process_group()


SETTINGS: tuple[Aspect, ...] = (
    ProcessGroup(),
    _TORCH,
    _SETTINGS,
    _RANDOM,
    _PROCESS,
    Environment(),
    Logging(),
    Figures(),
)
