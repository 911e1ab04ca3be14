"""Where a training is to run, and how fast that is."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.forecast.cards import Card, find_card

_OPERATIONS = 2  # of a multiply-accumulate


@dataclass(frozen=True)
class Machine:
    """Where a training is to run.

    Attributes:
        gpus: How many.
        card: One of :data:`~mmssl_dynamic.forecast.cards.CARDS`.
        utilisation: Share of the card's peak that a training reaches. It depends on the network and on the images of a
            card more than on the card: measure it on a short run. What such networks have reached when left out.
        amp: Whether it trains with 16-bit activations.
        images_per_core: Training images that one core makes in a second; measured on this machine when left out.
        launch_microseconds: What a processor takes to start one operation on a card, PyTorch's own work on it included.
            A step takes that long at least, however few its images are. On an H100 it was 55 for SimSiam and 70 for SDR
            with 64 images of 224 px, and 68 for DSPNet with 128 of 128 px (tools/benchmarks/sdr_step.py,
            dspnet_step.py), without --compile.

    Raises:
        ConfigError: a number that cannot be.
    """

    gpus: int = 8
    card: str = "h100"
    utilisation: float | None = None
    amp: bool = False
    images_per_core: float | None = None
    launch_microseconds: float = 65.0

    def __post_init__(self) -> None:
        find_card(self.card)
        if self.gpus < 1:
            raise ConfigError(f"--gpus {self.gpus} must be at least 1.")
        if self.utilisation is not None and not 0 < self.utilisation <= 1:
            raise ConfigError(f"--utilisation {self.utilisation} must be a share: above 0, and 1 at most.")
        if self.images_per_core is not None and not self.images_per_core > 0:
            raise ConfigError(f"--images-per-core {self.images_per_core} must be positive.")
        if not 0 <= self.launch_microseconds < inf:
            raise ConfigError(f"--launch-microseconds {self.launch_microseconds} must be a time, 0 or more.")

    def rate(self) -> float:
        """Multiply-accumulates per second of all cards at ``utilisation``, which must be there."""
        assert self.utilisation is not None
        card: Card = find_card(self.card)
        peak = card.half if self.amp else card.single
        return self.gpus * peak * 1e12 * self.utilisation / _OPERATIONS
