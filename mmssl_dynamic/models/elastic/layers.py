"""Elastic layers: they own the full weight and compute with the channels that are active.

Each behaves as its torch counterpart, parameter names included, while no sub-network is active.
N batch, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError
from mmssl_dynamic.models.elastic.bound import BoundLayer
from mmssl_dynamic.models.elastic.channels import Channels, Region, Selection
from mmssl_dynamic.models.elastic.gather import gather
from mmssl_dynamic.models.elastic.sync import synchronised_batch_norm, synchronises
from mmssl_dynamic.subnets import FULL


class ElasticLayer(BoundLayer, nn.Module):
    """Keeps the gathered parameters of a layer for the length of a ``subnet`` block."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gathered: dict[str, tuple[tuple, Tensor]] = {}

    def forget_gathered(self) -> None:
        """Let go of the gathered parameters."""
        self._gathered.clear()

    def parameter_regions(self) -> Iterator[tuple[Tensor, Region]]:
        """Every parameter with the part of it that takes part now."""
        raise NotImplementedError

    def activations(self) -> tuple[Channels, ...]:
        """The channels that the layer reads and puts out."""
        raise NotImplementedError

    def active_state(self) -> dict[str, Tensor]:
        """What a plain layer of the active channels holds: its ``state_dict``."""
        names = {id(parameter): name for name, parameter in self.named_parameters(recurse=False)}
        return {names[id(parameter)]: _block(parameter, region) for parameter, region in self.parameter_regions()}

    def _active(self, name: str, region: Region, channels: Channels, cast: bool = True) -> Tensor | None:
        """The active block of the parameter ``name``, gathered once per sub-network and step."""
        parameter = getattr(self, name)
        if parameter is None or all(selection is None for selection in region):
            return parameter
        dtype = _autocast_dtype(parameter) if cast else parameter.dtype
        if torch.jit.is_tracing():
            return gather(parameter, region, dtype)
        # The version counter grows with every optimiser step: a gathered weight never outlives one.
        key = (region, parameter._version, dtype, torch.is_grad_enabled())
        held = self._gathered.get(name)
        if held is None or held[0] != key:
            if not self._gathered:
                channels.subnet.holders.append(self)
            held = self._gathered[name] = (key, gather(parameter, region, dtype))
        return held[1]


def _block(parameter: Tensor, region: Region) -> Tensor:
    return parameter if all(selection is None for selection in region) else gather(parameter, region)


def _autocast_dtype(parameter: Tensor) -> torch.dtype:
    # Autocast caches its casts of leaf tensors only; a gathered weight would be cast anew for every view.
    kind = parameter.device.type
    if torch.is_autocast_enabled(kind) and parameter.dtype is torch.float32:
        return torch.get_autocast_dtype(kind)
    return parameter.dtype


class ElasticConv2d(ElasticLayer, nn.Conv2d):
    """2-D convolution over the active channels.

    Dense, depthwise and grouped. With ``groups > 1`` the active channels must be whole convolution groups, the same
    ones on both sides.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel_size: As in :class:`torch.nn.Conv2d`, like everything in ``kwargs``.
    """

    def __init__(self, in_channels: Channels, out_channels: Channels, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(in_channels.total, out_channels.total, kernel_size, **kwargs)
        self.inputs, self.outputs = in_channels, out_channels

    def parameter_regions(self) -> Iterator[tuple[Tensor, Region]]:
        """Weight and bias with their active output and input channels."""
        yield self.weight, self._weight_region()
        if self.bias is not None:
            yield self.bias, (self.outputs.active,)

    def _weight_region(self) -> Region:
        # A grouped weight has shape (C_out, C_in / groups, kH, kW): whole groups are rows.
        return (self.outputs.active, self.inputs.active if self.groups == 1 else None)

    def _active_groups(self) -> int:
        if self.groups == 1 or self.outputs.active is None is self.inputs.active:
            return self.groups
        groups_in = _whole_groups(self.inputs, self.in_channels // self.groups)
        groups_out = _whole_groups(self.outputs, self.out_channels // self.groups)
        if groups_in != groups_out:
            raise ConfigError("a grouped convolution must select the same convolution groups of inputs and outputs.")
        return sum(stop - start for start, stop in groups_in)

    def activations(self) -> tuple[Channels, ...]:
        """Inputs and outputs."""
        return self.inputs, self.outputs

    def operands(self) -> tuple[Tensor | None, Tensor | None, int]:
        """Active weight, active bias, and how many convolution groups are active."""
        groups = self._active_groups()
        weight = self._active("weight", self._weight_region(), self.outputs)
        return weight, self._active("bias", (self.outputs.active,), self.outputs), groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, C_in active, H, W) -> (N, C_out active, H', W')."""
        weight, bias, groups = self.bound or self.operands()
        return F.conv2d(x, weight, bias, self.stride, self.padding, self.dilation, groups)


def _whole_groups(channels: Channels, width: int) -> tuple[tuple[int, int], ...]:
    """The active ranges in units of ``width`` channels."""
    ranges = ((0, channels.total),) if channels.active is None else channels.active.ranges
    if any(edge % width for pair in ranges for edge in pair):
        raise ConfigError(f"channel ranges {ranges} cut through convolution groups of {width} channels.")
    return tuple((start // width, stop // width) for start, stop in ranges)


class ElasticLinear(ElasticLayer, nn.Linear):
    """Linear layer over the active features.

    Args:
        in_channels: Features of the input.
        out_channels: Features of the output.
        bias: Whether there is a bias.
    """

    def __init__(self, in_channels: Channels, out_channels: Channels, bias: bool = True) -> None:
        super().__init__(in_channels.total, out_channels.total, bias=bias)
        self.inputs, self.outputs = in_channels, out_channels

    def parameter_regions(self) -> Iterator[tuple[Tensor, Region]]:
        """Weight and bias with their active output and input features."""
        yield self.weight, (self.outputs.active, self.inputs.active)
        if self.bias is not None:
            yield self.bias, (self.outputs.active,)

    def activations(self) -> tuple[Channels, ...]:
        """Inputs and outputs."""
        return self.inputs, self.outputs

    def operands(self) -> tuple[Tensor | None, Tensor | None]:
        """Active weight and bias."""
        weight = self._active("weight", (self.outputs.active, self.inputs.active), self.outputs)
        return weight, self._active("bias", (self.outputs.active,), self.outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C_in active) -> (..., C_out active)."""
        weight, bias = self.bound or self.operands()
        return F.linear(x, weight, bias)


Statistics = tuple[Tensor, Tensor]


class ElasticBatchNorm(ElasticLayer, _BatchNorm):
    """BatchNorm (1-d or 2-d) over the active channels.

    The affine parameters are shared by all sub-networks, unless ``switch_affine`` is set. The running buffers belong
    to the full network. Where other sub-networks find their statistics:

    * by default, nowhere: they train with the statistics of their batches and are evaluated with what
      :meth:`set_statistics` gave them;
    * with ``switches`` (switchable BatchNorm), in running buffers of their own, which training updates.

    Args:
        channels: The normalised channels.
        sync: Take the batch statistics over all processes, where there are several (SyncBN).
        switches: Sub-networks, apart from ``'full'``, that have running buffers of their own. They must select
            prefixes of the channels.
        switch_affine: Give each of ``switches`` affine parameters of its own, too.
        eps, momentum, affine: As in :class:`torch.nn.BatchNorm2d`.

    Raises:
        MissingStatisticsError: in evaluation mode, if the active sub-network has no statistics.
    """

    def __init__(
        self,
        channels: Channels,
        sync: bool = False,
        switches: Sequence[str] = (),
        switch_affine: bool = False,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__(channels.total, eps=eps, momentum=momentum, affine=affine)
        self.channels, self.sync = channels, sync
        self._statistics: dict[str, Statistics] = {}
        self.switch_mean: Tensor
        self.switch_var: Tensor
        self.switch_batches_tracked: Tensor
        self._switches = {name: index for index, name in enumerate(switches)}
        self.switch_affine = switch_affine and affine and bool(switches)
        shape = (len(switches), channels.total)
        if switches:
            self.register_buffer("switch_mean", torch.zeros(shape))
            self.register_buffer("switch_var", torch.ones(shape))
            self.register_buffer("switch_batches_tracked", torch.zeros(len(switches), dtype=torch.long))
        if self.switch_affine:
            self.switch_weight = nn.Parameter(torch.ones(shape))
            self.switch_bias = nn.Parameter(torch.zeros(shape))

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim not in (2, 3, 4):
            raise ValueError(f"expected 2 to 4 dimensions, got {input.ndim}")

    @property
    def _switch(self) -> int | None:
        """Row of the active sub-network in the buffers of the switches."""
        return self._switches.get(self.channels.subnet.name)

    def _affine(self) -> Iterator[tuple[str, str, Region]]:
        """Plain name, own name and active region of the two affine parameters."""
        active, row = self.channels.active, self._switch
        for name in ("weight", "bias") if self.affine else ():
            if row is None or not self.switch_affine:
                yield name, name, (active,)
            else:
                yield name, f"switch_{name}", (Selection(len(self._switches), ((row, row + 1),)), active)

    def parameter_regions(self) -> Iterator[tuple[Tensor, Region]]:
        """The affine parameters with the active channels."""
        for _, name, region in self._affine():
            yield getattr(self, name), region

    def active_state(self) -> dict[str, Tensor]:
        """As a plain layer's; without statistics of the active sub-network, those of a new layer."""
        size = self.channels.size
        state = {name: _block(getattr(self, own), region).reshape(size) for name, own, region in self._affine()}
        assert self.running_mean is not None
        fresh = (self.running_mean.new_zeros(size), self.running_mean.new_ones(size))
        mean, var = self.statistics(self.channels.subnet.name) or fresh
        return {
            **state,
            "running_mean": mean,
            "running_var": var,
            "num_batches_tracked": torch.zeros((), dtype=torch.long, device=mean.device),
        }

    def fill_weight(self, value: float) -> None:
        """Set the scale of all sub-networks."""
        with torch.no_grad():
            self.weight.fill_(value)
            if self.switch_affine:
                self.switch_weight.fill_(value)

    def set_statistics(self, name: str, mean: Tensor, var: Tensor, size: int) -> None:
        """Set mean and variance, each (``size``,), with which the sub-network ``name`` is evaluated.

        Raises:
            ArtifactError: the shapes do not fit the sub-network.
        """
        if mean.shape != (size,) or var.shape != (size,):
            raise ArtifactError(
                f"BatchNorm statistics of sub-network '{name}' have {tuple(mean.shape)} channels where it has {size}; "
                "use the bank that was made for this network."
            )
        if name == FULL:
            assert self.running_mean is not None
            assert self.running_var is not None
            self.running_mean.copy_(mean)
            self.running_var.copy_(var)
        elif (row := self._switches.get(name)) is not None:
            self.switch_mean[row, :size] = mean.to(self.switch_mean)
            self.switch_var[row, :size] = var.to(self.switch_var)
            self.switch_batches_tracked[row].clamp_(min=1)
        else:
            assert self.running_mean is not None
            self._statistics[name] = (mean.to(self.running_mean), var.to(self.running_mean))

    def statistics(self, name: str) -> Statistics | None:
        """Mean and variance of the sub-network ``name``, or ``None`` if it has none yet.

        With ``switches``, of as many channels as are active now.
        """
        if name == FULL:
            assert self.running_mean is not None
            assert self.running_var is not None
            return self.running_mean, self.running_var
        row = self._switches.get(name)
        if row is None:
            return self._statistics.get(name)
        if not self.switch_batches_tracked[row]:
            return None
        size = self.channels.size
        return self.switch_mean[row, :size], self.switch_var[row, :size]

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        self._statistics = {name: (fn(mean), fn(var)) for name, (mean, var) in self._statistics.items()}
        return self

    def activations(self) -> tuple[Channels, ...]:
        """The normalised channels."""
        return (self.channels,)

    def operands(self) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None, bool, float]:
        """Active weight and bias, statistics, whether those of the batch are used, and the weight of the batch in them.

        In training mode the batch is counted.
        """
        weight = bias = None
        for name, own, region in self._affine():
            block = self._active(own, region, self.channels, cast=False)
            assert block is not None
            block = block.squeeze(0) if block.ndim == 2 else block
            weight, bias = (block, bias) if name == "weight" else (weight, block)
        if not self.training:
            return weight, bias, *self._evaluation_statistics(self.channels.subnet.name), False, 0.0
        mean, var, factor = self._tracked()
        return weight, bias, mean, var, True, factor

    def forward(self, x: Tensor) -> Tensor:
        """(N, C active, ...) -> the same shape."""
        self._check_input_dim(x)
        weight, bias, mean, var, of_batch, factor = self.bound or self.operands()
        if of_batch and self.sync and synchronises():
            return synchronised_batch_norm(x, weight, bias, mean, var, self.eps, factor)
        return F.batch_norm(x, mean, var, weight, bias, of_batch, factor, self.eps)

    def _tracked(self) -> tuple[Tensor | None, Tensor | None, float]:
        """The buffers that follow this batch, and the weight of the batch in them."""
        subnet, row = self.channels.subnet, self._switch
        if not subnet.track_statistics or (subnet.name != FULL and row is None):
            return None, None, 0.0
        if row is None:
            mean, var, count = self.running_mean, self.running_var, self.num_batches_tracked
            assert count is not None
        else:
            size = self.channels.size
            mean, var = self.switch_mean[row, :size], self.switch_var[row, :size]
            count = self.switch_batches_tracked[row]
        count.add_(1)
        return mean, var, 1.0 / float(count) if self.momentum is None else self.momentum

    def _evaluation_statistics(self, name: str) -> Statistics:
        statistics = self.statistics(name)
        if statistics is None:
            raise MissingStatisticsError(
                f"sub-network '{name}' has no BatchNorm statistics of its own; calibrate it "
                "(tools/calibrate_bn.py) and load the bank before evaluating."
            )
        return statistics
