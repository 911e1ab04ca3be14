"""SDR whose paths are slimmable: a network for every task and budget, out of one pre-training.

Neither paper has it. A step draws a path and a batch of its cluster as SDR does (Algorithm 1), and trains several
widths of the path as DSPNet does (Sec. 4.1): the path itself, its narrowest network, and random ones between. Each of
them has SDR's loss, the base method's on the cluster plus SiamKD towards W_0. W_0 has one width and trains on D_0.
N batch, D dimension of projections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones import SDRSlimmableResNet
from mmssl_dynamic.models.sandwich import SandwichTraining
from mmssl_dynamic.models.selfsup.directions import Views
from mmssl_dynamic.models.selfsup.sdr import SDR, batch_subnet
from mmssl_dynamic.models.selfsup.sdr_byol import SDRBYOL
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.subnets import WidthsOfPath, split_width


@dataclass(frozen=True)
class _Step:
    """What all widths of a step have in common.

    Attributes:
        teacher: What the networks are distilled from: W_0's projections under stop-gradient, or a frozen teacher's.
        targets: What predictions are compared with; ``None`` where each network has its own.
    """

    teacher: Sequence[Tensor]
    targets: Sequence[Tensor] | None


class SlimmablePaths(SandwichTraining, SDR):
    """Base of SDR's methods over paths of several widths.

    The widths of a step are drawn by :class:`mmssl_dynamic.engine.SandwichHook`. With a single width this is SDR, step
    by step; with a single path, the sandwich rule of DSPNet on the same base method.

    What trains in a step is the path: the narrower networks are parts of it, and groups of other paths do not move.

    Args:
        args: As of :class:`SDR`; the backbone is a :class:`mmssl_dynamic.models.SDRSlimmableResNet`.
        kwargs: The same.

    Raises:
        ConfigError: another backbone.
    """

    backbone: SDRSlimmableResNet

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not isinstance(self.backbone, SDRSlimmableResNet):
            raise ConfigError(
                f"{type(self).__name__} trains paths of several widths and needs mmssl_dynamic.SDRSlimmableResNet, not "
                f"{type(self.backbone).__name__}; of one width, use mmssl_dynamic.SDR."
            )

    def sandwich_space(self, data_samples: Any) -> WidthsOfPath:
        """The widths of the batch's path; W_0 alone for a batch of D_0."""
        return self.backbone.space.of_path(batch_subnet(data_samples))

    def step_networks(self, data_samples: Any = None) -> Sequence[str]:
        """The networks of the step on a batch, in their order.

        Raises:
            ConfigError: others were drawn than this batch has.
        """
        names = self.sandwich_space(data_samples).names
        if not set(self.networks) <= set(names):
            raise ConfigError(
                f"the step would train {', '.join(self.networks)}, and its batch is one of {names[-1]}; leave the "
                "choice to dict(type='mmssl_dynamic.SandwichHook') in custom_hooks."
            )
        return super().step_networks(data_samples)

    def ordered(self, names: Sequence[str]) -> Sequence[str]:
        """The path first, whose stem W_0 has in common, the narrowest last."""
        return names[::-1]

    def loss(self, inputs: Sequence[Tensor], data_samples: Sequence[Any], **kwargs: Any) -> dict[str, Tensor]:
        """Losses of all networks of this step in one graph; :meth:`train_step` needs less memory.

        Args:
            inputs: Two views, each (N, 3, H, W).
            data_samples: Of every image; their meta data name the path.
            kwargs: Not used; mmpretrain's interface has them.

        Returns:
            Of the path as :meth:`SDR.loss`; of narrower networks the same with their width, as in ``loss_kd@w0.5``.
        """
        shared = self.begin_step(inputs, data_samples)
        found: dict[str, Tensor] = {}
        for name in self.step_networks(data_samples):
            factor = self.loss_weights[name] if self.loss_weights else 1.0
            losses = self.network_loss(name, inputs, data_samples, shared)
            weighted = {key: value * factor if "loss" in key else value for key, value in losses.items()}
            found.update(self.log_vars(name, weighted))
        return found

    def begin_step(self, inputs: Any, data_samples: Any) -> _Step:
        """What all widths are distilled from, computed where a loss looks at it, and the targets that they share."""
        self.trained_subnet = batch_subnet(data_samples)
        views = self.step_views(inputs)
        return _Step(self.teaching(views), self.shared_targets(views))

    def shared_targets(self, views: Views) -> Sequence[Tensor] | None:
        """What all networks of a step predict, the last view's last; ``None``: their own targets."""
        return None

    def network_loss(self, name: str, inputs: Any, data_samples: Any, shared: Any) -> dict[str, Tensor]:
        """SDR's losses of one network, and its collapse measure."""
        return self.subnet_loss(name, self.step_views(inputs), shared.teacher, shared.targets)

    def log_vars(self, name: str, log_vars: dict[str, Tensor]) -> dict[str, Tensor]:
        """Those of the path under SDR's names, those of narrower networks with their width.

        A name of each network would make thousands of curves.
        """
        _, width = split_width(name)
        return {f"{key}{width}": value for key, value in log_vars.items() if key != "loss"}


@MODELS.register_module()
class SDRSlimmable(SlimmablePaths):
    """SDR over paths of several widths, on SimSiam: a network for every task and budget.

    A step draws a path and a batch of its cluster as SDR does, and trains the path, its narrowest network and random
    widths between as DSPNet does. Every network predicts its own projections, under stop-gradient (our reading), and
    is distilled from the full network.

    Args:
        args: As of :class:`SDR`; the backbone is a :class:`mmssl_dynamic.models.SDRSlimmableResNet`.
        kwargs: The same.

    Raises:
        ConfigError: another backbone.
    """


@MODELS.register_module()
class SDRSlimmableBYOL(SlimmablePaths, SDRBYOL):
    """The same on BYOL, as SDR's second base method and DSPNet's only one.

    All widths predict the target's projections of the path at its whole width, as DSPNet's networks those of the
    full target, and W_0's for SiamKD (our reading). The gradients of one path are DSPNet's.

    Args:
        args: As of :class:`SDRBYOL`; the backbone is a :class:`mmssl_dynamic.models.SDRSlimmableResNet`.
        kwargs: The same.

    Raises:
        ConfigError: another backbone.
    """

    def shared_targets(self, views: Views) -> Sequence[Tensor]:
        """Projections of the whole path inside of the target, once per step, of the views that are predicted."""
        predicted = views[-len(self.predicting(views)) :]
        return tuple(self.target_projection(self.trained_subnet, view) for view in predicted)
