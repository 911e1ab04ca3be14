"""Networks evaluated one after the other, each result kept as soon as it is there."""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import mmcv
import mmengine
import mmpretrain
import torch
from torch import nn

from mmssl_dynamic.calibration.statistics import OWN
from mmssl_dynamic.evaluation.complexity import complexity
from mmssl_dynamic.evaluation.evaluation_result import NetworkResult
from mmssl_dynamic.evaluation.latency import Latency, latency
from mmssl_dynamic.features.networks import Network, single_network
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.result_cache import Key, ResultCache, kept_line
from mmssl_dynamic.version import __version__


@dataclass(frozen=True)
class Timing:
    """How the latency of networks is measured.

    Args:
        batch: Images per pass.
        repeats: Passes; 0 leaves the latency out.
    """

    batch: int = 1
    repeats: int = 50


class Method(Protocol):
    """How one network is evaluated."""

    size: tuple[int, int]

    def record(self) -> dict[str, Any]:
        """Everything that can change a result."""
        ...

    def __call__(self, network: Network, folder: Path, label: str) -> tuple[float, float | None]:
        """Top-1 and top-5 accuracy in percent."""
        ...


class NetworkEvaluation:
    """Evaluates networks one after the other and keeps each result as soon as it is there.

    Args:
        method: How a network is evaluated.
        net: The super-network, or another backbone.
        options: The config that built it.
        kept: Of the results.
        inputs: What results depend on beside the networks, by the names of a :class:`~mmssl_dynamic.result_cache.Key`.
        progress: Say what is found.
        processes: Those that evaluate together; the first one keeps results and measures latencies.
    """

    def __init__(
        self,
        method: Method,
        net: nn.Module,
        options: Mapping[str, Any],
        kept: ResultCache[NetworkResult],
        inputs: Mapping[str, Any],
        progress: bool,
        processes: Processes | None = None,
    ) -> None:
        self.method, self.net, self.options, self.kept = method, net, options, kept
        self.inputs, self.progress, self.processes = inputs, progress, processes or Processes()
        self.weights = weights_fingerprint(net.state_dict())
        self.device = next(net.parameters()).device

    def __call__(self, names: Sequence[str], timing: Timing) -> list[NetworkResult]:
        """Results in the order of ``names``."""
        keys = {name: self._key(self._network(name)) for name in names}  # refuses what lacks statistics, before all
        done = self._finished(keys)
        pending = [name for name in names if name not in done]

        def is_timed(name: str) -> bool:
            found = done[name].latency if name in done else None
            return found is not None and found.measured_on(self.device, timing.batch, timing.repeats)

        untimed = [name for name in names if not is_timed(name)]
        timed = self._latencies(untimed, timing)
        for name in [name for name in done if timed.get(name) is not None]:
            done[name] = replace(done[name], latency=timed[name])
            self._keep(keys[name], done[name])
        start = time.monotonic()
        for index, name in enumerate(pending):
            began = time.monotonic()
            network, folder = self._network(name), self.kept.file(keys[name], name).with_suffix("")
            if self.kept.again and self.processes.first:
                shutil.rmtree(folder, ignore_errors=True)  # of a training, which would go on from its last epoch
            self.processes.wait()
            top1, top5 = self.method(network, folder, f"{name} ({index + 1} of {len(pending)})")
            cost = complexity(network.backbone, None, self.method.size)
            seconds = round(time.monotonic() - began, 2)
            done[name] = NetworkResult(name, top1, top5, cost.params, cost.macs, timed[name], seconds)
            self._keep(keys[name], done[name])
            left = (time.monotonic() - start) / (index + 1) * (len(pending) - index - 1)
            self._say(f"{name}: top-1 {top1:.2f} %" + (f", about {duration(left)} left" if left else ""))
        return [done[name] for name in names]

    def _network(self, name: str) -> Network:
        return single_network(self.net, name, self.options)

    def _key(self, network: Network) -> Key:
        """What a result depends on."""
        return Key("evaluation", {"network": network.name, "weights": self.weights, **network.inputs(), **self.inputs})

    def _finished(self, keys: Mapping[str, Key]) -> dict[str, NetworkResult]:
        """Results that are kept; the main process finds them, so that all processes train the same networks."""
        loaded = {name: self.kept.load(key, name) for name, key in keys.items()} if self.processes.first else {}
        found = self.processes.told({name: entry for name, entry in loaded.items() if entry is not None})
        if found:
            what = f"{len(found)} of {len(keys)} networks are"
            self._say(kept_line(what, found.values(), next(iter(keys.values()))))
        return {name: entry.value for name, entry in found.items()}

    def _keep(self, key: Key, result: NetworkResult) -> None:
        if self.processes.first:
            self.kept.save(key, result.name, result.record())

    def _latencies(self, names: Sequence[str], timing: Timing) -> dict[str, Latency | None]:
        """All of them now, under the same conditions; networks of one shape, such as SDR's paths, once.

        The first process measures, while the others wait.
        """
        found: dict[tuple, Latency] = {}
        timed: dict[str, Latency | None] = dict.fromkeys(names)
        for name in names if timing.repeats and self.processes.first else ():
            network = self._network(name)
            if network.shape not in found:
                found[network.shape] = latency(network.backbone, self.method.size, timing.batch, timing.repeats)
            timed[name] = found[network.shape]
        return self.processes.told(timed)

    def _say(self, text: str) -> None:
        if self.progress:
            print(text, flush=True)


def statistics_record(source: str) -> dict[str, str | None]:
    """Where BatchNorm statistics are from, for a result: in words, and ``bn`` to have them again."""
    own = source == OWN
    return {"bn_statistics": "the checkpoint's" if own else f"calibrated ({source})", "bn": None if own else source}


def versions() -> dict[str, str]:
    """Of the software that a result depends on."""
    modules: Mapping[str, Any] = {"torch": torch, "mmengine": mmengine, "mmcv": mmcv, "mmpretrain": mmpretrain}
    found = {name: str(module.__version__) for name, module in modules.items()}
    return {"mmssl_dynamic": __version__, "python": platform.python_version(), **found}


def duration(seconds: float) -> str:
    """Such as ``'40 s'`` or ``'3 min'``."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
