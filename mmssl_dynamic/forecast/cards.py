"""What cards do at most, by their makers' data sheets: dense products, without sparsity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from mmssl_dynamic.errors import ConfigError


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes:
        half: Operations per second with 16-bit inputs, as under ``--amp``, in TFLOPS; a multiply-accumulate is two.
        single: With 32-bit inputs as PyTorch runs convolutions by default: TF32 where the card has it, in TFLOPS.
        memory_gib: Its memory.
    """

    half: float
    single: float
    memory_gib: float


#: By what people call them.
CARDS = {
    "v100": Card(125.0, 15.7, 32),
    "a100": Card(312.0, 156.0, 80),
    "h100": Card(989.0, 494.0, 80),
    "h200": Card(989.0, 494.0, 141),
    "rtx3090": Card(71.0, 35.6, 24),
    "rtx4090": Card(165.0, 82.6, 24),
}


def find_card(name: str) -> Card:
    """A card by its name.

    Raises:
        ConfigError: it is not known.
    """
    if name not in CARDS:
        raise ConfigError(f"--card {name} is not known; use one of {', '.join(CARDS)}.")
    return CARDS[name]


# Measured on an H100 with bf16 and channels-last order (tools/benchmarks/sdr_step.py, dspnet_step.py): SDR's ResNet-50
# with 256 images of 224 px a card. DSPNet's MobileNetV3s with 128 images of 128 px, which leave the card waiting for
# launches, so that it is more with more of them: depthwise convolutions move much and multiply little. SDR's paper
# reached 0.11 on V100s.
_REACHED, _REACHED_DEPTHWISE = 0.10, 0.01


def usual_utilisation(model: nn.Module) -> float:
    """Share of the peak that trainings of such networks have reached."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    depthwise = any(module.groups == module.in_channels > 1 for module in convolutions)
    return _REACHED_DEPTHWISE if depthwise else _REACHED
