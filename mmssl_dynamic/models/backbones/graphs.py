"""Compiled graphs of a super-network: one for all sub-networks that have the same shapes.

torch.compile checks, before it runs a graph, everything that Python code looked at while it was traced. An elastic
layer looks at which channels are active: every path of SDR would be compiled anew. So the active weights are gathered
before the graph runs, and are its inputs; what is traced sees shapes alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic import BoundLayer, active_modules, bound

# A shape is compiled with and without gradients, with and without running statistics, for a whole batch and for the
# last one of an epoch, and all of that for a target network, too. More graphs than these are a fault.
_MODES = 16


class Graphs:
    """The graphs of a super-network.

    Attributes:
        made: How many graphs were made, by the sub-network that was the first to need them.
        allowed: How many graphs all networks of this process may need: PyTorch counts them together.

    Args:
        shapes: Number of different shapes that its sub-networks have.
        options: Of ``torch.compile``, such as ``backend`` and ``mode``.
    """

    allowed = 0

    def __init__(self, shapes: int, options: dict[str, Any]) -> None:
        # Whole graphs, without Python in between, of fixed shapes: one for any number of channels is slower.
        self._options = {"fullgraph": True, "dynamic": False, **options}
        self._shapes = shapes
        Graphs.allowed += shapes * _MODES
        self._compiled: dict[Callable, Callable] = {}
        self._layers: dict[tuple[Callable, str], list[BoundLayer]] = {}
        self.made: Counter[str] = Counter()

    def run(self, function: Callable, net: nn.Module, x: Tensor, name: str, parts: Sequence[nn.Module]) -> Any:
        """``function(net, x)`` by a graph.

        Args:
            function: What is compiled, the same in every call.
            net: The super-network.
            x: Images or feature maps.
            name: The active sub-network.
            parts: The children of ``net`` that ``function`` runs.

        Raises:
            ConfigError: this machine cannot compile, or ``net`` cannot be compiled.
        """
        # Imported when they are needed: they take as long as all of torch.
        from torch._dynamo import config as dynamo_config
        from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException
        from torch._dynamo.utils import counters

        if function not in self._compiled:
            self._compiled[function] = torch.compile(function, **self._options)
        before = counters["stats"]["unique_graphs"]
        # With fullgraph, a graph beyond the limit is an error, and no silent return to Python.
        limits = {"recompile_limit": Graphs.allowed, "accumulated_recompile_limit": Graphs.allowed}
        with bound(self._layers_of(function, name, parts)), dynamo_config.patch(limits):
            try:
                out = self._compiled[function](net, x)
            except FailOnRecompileLimitHit as error:
                raise ConfigError(
                    f"{type(net).__name__} took {sum(self.made.values())} graphs for sub-networks of {self._shapes} "
                    "shapes; train on images of one size, or leave out --compile (compile in the config)."
                ) from error
            except TorchDynamoException as error:
                raise ConfigError(
                    f"{type(net).__name__} cannot be compiled here ({_reason(error)}); leave out --compile (compile in "
                    "the config)."
                ) from error
        if made := counters["stats"]["unique_graphs"] - before:
            self.made[name] += made
            total = sum(self.made.values())
            print_log(f"{type(net).__name__}: compiled graph {total}, for sub-network '{name}'", "current")
        return out

    def _layers_of(self, function: Callable, name: str, parts: Sequence[nn.Module]) -> list[BoundLayer]:
        """The layers that a sub-network runs."""
        key = (function, name)
        if key not in self._layers:
            modules = (module for part in parts for _, module in active_modules(part))
            self._layers[key] = [module for module in modules if isinstance(module, BoundLayer)]
        return self._layers[key]


def _reason(error: Exception) -> str:
    """The first line that says something."""
    cause = getattr(error, "inner_exception", error)  # of a backend that failed
    lines = (line.strip(" .") for line in str(cause).splitlines())
    return next((line for line in lines if line), type(cause).__name__)
