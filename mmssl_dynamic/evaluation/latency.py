"""How long a network takes for a batch: the median of many runs after some that do not count."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.features.networks import image_channels
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.records import Amount, Count


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass, and everything it depends on.

    Attributes:
        median_ms: Median over the repeats, in milliseconds.
        low_ms: First decile.
        high_ms: Last decile.
        batch_size: Images per pass.
        image_size: (H, W) in pixels.
        repeats: Passes that count.
        warm_up: Passes before them.
        device: Name of the processor.
        threads: Threads of PyTorch on the CPU.
    """

    median_ms: Amount
    low_ms: Amount
    high_ms: Amount
    batch_size: Count
    image_size: tuple[Count, Count]
    repeats: Count
    warm_up: Count
    device: str
    threads: Count

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "image_size": list(self.image_size)}

    def measured_on(self, device: torch.device, batch_size: int, repeats: int) -> bool:
        """Whether it was measured under these conditions, with the threads that there are now."""
        same = (self.device, self.batch_size, self.repeats) == (device_name(device), batch_size, repeats)
        return same and (device.type != "cpu" or self.threads == torch.get_num_threads())

    @property
    def conditions(self) -> str:
        """How it was measured, in words."""
        height, width = self.image_size
        threads = f", {self.threads} thread{'s' * (self.threads > 1)}" if self.device.startswith("CPU") else ""
        images = f"{self.batch_size} image{'s' * (self.batch_size > 1)} of {height} x {width} px"
        return f"median of {self.repeats} passes after {self.warm_up}, {images}, {self.device}{threads}"


def latency(
    net: nn.Module,
    size: int | Sequence[int] = 224,
    batch_size: int = 1,
    repeats: int = 50,
    warm_up: int = 10,
) -> Latency:
    """Measure a plain network on the device where it is.

    Args:
        net: Any network that takes images (N, C, H, W); runs in evaluation mode and is left as it was.
        size: Side of square images or (H, W), in pixels.
        batch_size: N.
        repeats: Passes that count.
        warm_up: Passes before them.

    Raises:
        ConfigError: a number that cannot work.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width, batch_size, repeats) < 1 or warm_up < 0:
        raise ConfigError(
            f"a latency needs positive numbers, not size={size}, batch_size={batch_size}, repeats={repeats}, "
            f"warm_up={warm_up}."
        )
    device = next(net.parameters()).device
    images = torch.randn(batch_size, image_channels(net), height, width, device=device)
    with eval_mode(net), torch.inference_mode():
        median, low, high = timed(lambda: net(images), repeats, warm_up, lambda: _synchronise(device))
    return Latency(
        median_ms=median,
        low_ms=low,
        high_ms=high,
        batch_size=batch_size,
        image_size=(height, width),
        repeats=repeats,
        warm_up=warm_up,
        device=device_name(device),
        threads=torch.get_num_threads(),
    )


def timed(
    run: Callable[[], object], repeats: int, warm_up: int, synchronise: Callable[[], None] = lambda: None
) -> tuple[float, float, float]:
    """Median, first and last decile of the milliseconds that something takes.

    Args:
        run: Does it once.
        repeats: How often it is timed.
        warm_up: How often it is done before.
        synchronise: Waits for what was started.
    """
    milliseconds = []
    for index in range(warm_up + repeats):
        synchronise()
        start = time.perf_counter()
        run()
        synchronise()
        if index >= warm_up:
            milliseconds.append(1000 * (time.perf_counter() - start))
    milliseconds.sort()
    last = len(milliseconds) - 1
    return statistics.median(milliseconds), milliseconds[round(0.1 * last)], milliseconds[round(0.9 * last)]


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_name(device: torch.device) -> str:
    """Name of a processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()})" if device.type == "cpu" else str(device)
