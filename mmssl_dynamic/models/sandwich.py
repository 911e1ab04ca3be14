"""Sandwich training: several networks of a super-network in every step (DSPNet Sec. 4.1, after US-Nets).

Each network's loss is back-propagated at once and gradients accumulate, so that peak memory is that of the largest
network alone; then the optimiser moves once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch import Tensor

from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.subnets import SlimmableSpace, WidthsOfPath


class SandwichTraining(BaseModel):
    """Base of models whose training step goes through several networks of ``self.backbone``.

    A subclass implements :meth:`network_loss` and, for what all networks of a step share, :meth:`begin_step`.

    Attributes:
        networks: The networks of the next step; :class:`mmssl_dynamic.engine.SandwichHook` sets them before each.
            By default the smallest and the largest.
        loss_weights: Factors of the losses of this step's networks, set likewise; 1 for all when empty.
        before_update: Called once per optimiser step, when all gradients are there; how processes average them.
    """

    backbone: SuperNetwork
    networks: tuple[str, ...] = ()
    loss_weights: Mapping[str, float] = {}
    before_update: Callable[[], None] | None = None

    def begin_step(self, inputs: Any, data_samples: Any) -> Any:
        """What all networks of the step share, such as targets; computed once."""
        return None

    def network_loss(self, name: str, inputs: Any, data_samples: Any, shared: Any) -> dict[str, Tensor]:
        """Losses of one network, which is not active yet.

        Args:
            name: The network.
            inputs: The batch, preprocessed.
            data_samples: Its data samples.
            shared: What :meth:`begin_step` gave.
        """
        raise NotImplementedError

    def ordered(self, names: Sequence[str]) -> Sequence[str]:
        """The order in which the networks of a step are trained; gradients add up to the same in any."""
        return names

    def sandwich_space(self, data_samples: Any) -> SlimmableSpace | WidthsOfPath:
        """The networks that a step on a batch draws from.

        Args:
            data_samples: Those of the batch.
        """
        return self.backbone.space  # type: ignore[return-value]  # of slimmable backbones

    def step_networks(self, data_samples: Any = None) -> Sequence[str]:
        """The networks of the step on a batch, in their order."""
        names = self.sandwich_space(data_samples).names
        return self.ordered(self.networks or ((names[0], names[-1]) if len(names) > 1 else names))

    def log_vars(self, name: str, log_vars: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is logged of a network beside the sum of all losses: under its name, or ``other`` if nobody listed it.

        Args:
            name: The network.
            log_vars: Its losses, their sum ``loss``, and what else :meth:`network_loss` gave.
        """
        label = name if name in self.backbone.subnets else "other"
        return {f"{key}_{label}": value for key, value in log_vars.items() if _tells_more(key, log_vars)}

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """One pass over the networks of this step, and one update of the optimiser where it is due.

        Returns:
            Log variables: ``loss`` is the sum over networks; the others are those of :meth:`log_vars`.
        """
        logged: dict[str, Tensor] = {}
        with optim_wrapper.optim_context(self):
            data = self.data_preprocessor(data, True)
            inputs, data_samples = data["inputs"], data.get("data_samples")
            shared = self.begin_step(inputs, data_samples)
        total: Tensor | float = 0.0
        names = self.step_networks(data_samples)
        # DSPNet Eq. 5: the unweighted sum over the sampled networks, unless there are weights.
        for name in names:
            with optim_wrapper.optim_context(self):
                losses = self.network_loss(name, inputs, data_samples, shared)
            loss, log_vars = self.parse_losses(losses)
            loss = loss * self.loss_weights[name] if self.loss_weights else loss
            scaled = optim_wrapper.scale_loss(loss)
            if name != names[-1]:
                _accumulate(optim_wrapper, scaled)
            else:
                optim_wrapper.backward(scaled)  # this one counts for gradient accumulation
            total = total + loss.detach()
            logged.update({key: value.detach() for key, value in self.log_vars(name, log_vars).items()})
            del losses, loss, log_vars, scaled  # and with them the graph, before the next network's grows
        if optim_wrapper.should_update():
            if self.before_update is not None:
                self.before_update()
            optim_wrapper.step()
            optim_wrapper.zero_grad()
        assert isinstance(total, Tensor)
        return {"loss": total, **logged}

    def summed_loss(self, inputs: Any, data_samples: Any) -> dict[str, Tensor]:
        """The losses of all networks of the step in one graph: the same gradient, at the memory of all together."""
        shared = self.begin_step(inputs, data_samples)
        return {
            f"{key}_{name}": value * self.loss_weights[name] if self.loss_weights and "loss" in key else value
            for name in self.step_networks(data_samples)
            for key, value in self.network_loss(name, inputs, data_samples, shared).items()
        }


def _tells_more(key: str, log_vars: dict[str, Tensor]) -> bool:
    """Whether a log variable is not merely the sum of the only loss there is."""
    return key != "loss" or sum("loss" in other for other in log_vars) != 2


def _accumulate(optim_wrapper: OptimWrapper, loss: Tensor) -> None:
    """Add gradients without counting a pass of gradient accumulation."""
    scaler = getattr(optim_wrapper, "loss_scaler", None)
    (loss if scaler is None else scaler.scale(loss)).backward()


def own_gradients(model: torch.nn.Module) -> list[Tensor]:
    """The gradients that there are, in the order of the parameters."""
    return [p.grad for p in model.parameters() if p.grad is not None]
