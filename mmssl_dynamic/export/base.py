"""What the formats of an export have in common."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save
from torch import Tensor, nn

from mmssl_dynamic.export.families import Architecture, Outputs
from mmssl_dynamic.export.input_images import InputImages
from mmssl_dynamic.models.backbones import SuperNetwork


@dataclass(frozen=True)
class Source:
    """The sub-network that is exported.

    Attributes:
        net: The super-network.
        name: Of the sub-network.
        twin: The sub-network alone, out of plain modules, in evaluation mode on the CPU.
        architecture: Its shape.
        state: Its weights under its own keys.
        images: What it takes.
    """

    net: SuperNetwork
    name: str
    twin: Any
    architecture: Architecture
    state: dict[str, Tensor]
    images: InputImages


@dataclass(frozen=True)
class Reading:
    """A written file, read back into a model that was built without the super-network.

    Attributes:
        model: What it is called in messages.
        tensors: The weights of the model, under the keys of :meth:`Format.tensors`; ``None`` if it shows none.
        outputs: Images (N, C, H, W) to all feature maps that the model can give.
    """

    model: str
    tensors: dict[str, Tensor] | None
    outputs: Callable[[Tensor], Outputs]


class Format:
    """One way to write a sub-network down.

    Another format is a class in a module of your own, and known as ``my_module.MyFormat``, or by the name under which
    it is registered in :data:`~mmssl_dynamic.registry.FORMATS`. It says how to :meth:`write` a file, how to
    :meth:`read` it back, so that it can be compared with the sub-network, and what its :meth:`usage` is.

    A format with options takes them as keyword arguments, each with a default.

    Attributes:
        suffixes: Names of files end in one of them.
        packages: Distributions that the format needs and the package itself does not.
        advice: What there is to do beside installing them, for the message that says that they are missing.
        runtime: Distribution that runs the file.
        precision: What of the runtime's arithmetic differs from float32, in words.
        agreement: What outputs do that differ by no more than the tolerance, in words.
        tolerance: The most that :meth:`deviation` may be: equal operations on equal weights differ by rounding alone.
        remedy: What to do where it is more, for the message.
    """

    suffixes: tuple[str, ...] = (".pth", ".safetensors")
    packages: tuple[str, ...] = ()
    advice: ClassVar[str] = ""
    runtime: ClassVar[str] = "torch"
    precision: ClassVar[str] = ""
    agreement: ClassVar[str] = "agree with"
    tolerance: float = 1e-4
    remedy: ClassVar[str] = "Check that the weights hold no NaN and report this with the config."

    def ready(self) -> None:
        """Refuse options that cannot work, before anything is computed.

        Raises:
            ConfigError: with the remedy.
        """

    def check(self, architecture: Architecture) -> None:
        """Refuse what the format cannot hold, before anything is written.

        Raises:
            NoStockModel: with the reason.
        """

    def tensors(self, source: Source) -> dict[str, Tensor]:
        """The weights under the keys of the format, without prefix."""
        return source.state

    def restored(self, tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
        """The backbone's own weights out of :meth:`tensors`; of a format that is loaded into PyTorch."""
        return dict(tensors)

    def files(self, target: Path) -> list[Path]:
        """Every file of an export, that of its own name first; :meth:`write` and :meth:`read` get as many."""
        return [target]

    def write(self, source: Source, path: Path) -> None:
        """Write the file."""
        write_weights(self.tensors(source), path)

    def read(self, source: Source, path: Path) -> Iterable[Reading]:
        """Load the file in every way that a user would."""
        raise NotImplementedError

    def batches(self, source: Source) -> list[Tensor]:
        """Images (N, C, H, W) that outputs are compared on: two batches of other sizes, as far as files take those."""
        return [random_images(source, 2, (64, 64)), random_images(source, 1, (96, 96))]

    def deviation(self, outputs: Tensor, expected: Tensor) -> float:
        """How far a feature map is from the sub-network's: the largest difference, as a part of the largest value."""
        scale = max(float(expected.abs().max()), 1e-6)  # of one feature map: others may be far larger
        return float((outputs - expected).abs().max()) / scale

    def usage(self, source: Source, target: Path) -> Any:
        """What to paste where, for the sidecar: lines of Python, or parts of a config."""
        raise NotImplementedError

    def snippet(self, source: Source, target: Path) -> str:
        """Lines of Python to paste, imports and all; the :meth:`usage` of a format that has no other."""
        usage = self.usage(source, target)
        return usage if isinstance(usage, str) else json.dumps(usage, indent=2)

    def details(self, source: Source) -> dict[str, Any]:
        """More for the sidecar."""
        return {}

    def notes(self) -> list[str]:
        """What there is to say of the file that was written, beside its check; a sentence each."""
        return []


def random_images(source: Source, count: int, size: tuple[int, int]) -> Tensor:
    """The same noise every time, (count, C, H, W)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, source.architecture.in_channels, *size, generator=generator)


def write_weights(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors into a file that is there, by the suffix as safetensors or with ``torch.save``."""
    if path.suffix == ".safetensors":
        path.write_bytes(save(tensors))  # save_file() would put another file in its place
    else:
        torch.save(tensors, path)


def reading(model: str, net: nn.Module, run: Callable[[Any, Tensor], Outputs]) -> Reading:
    """The reading of a PyTorch model."""

    def outputs(images: Tensor) -> Outputs:
        net.to(images.device)
        net.eval()  # not chained: mmpretrain's ResNet returns nothing here
        return run(net, images)

    return Reading(model, net.state_dict(), outputs)


@contextmanager
def quiet_openmmlab() -> Iterator[None]:
    """Keep OpenMMLab from announcing what it loads and listing every parameter that it initialises."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # mmcv's, about how one of its layers was two years ago
            yield
    finally:
        logger.setLevel(level)
