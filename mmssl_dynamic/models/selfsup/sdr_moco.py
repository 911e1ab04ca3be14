"""SDR on MoCo-v2 (arXiv 1911.05722, 2003.04297): InfoNCE against a queue of keys from a moving average of all paths.

N batch of a process, P processes, D dimension of projections, Q keys in the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.selfsup.directions import Views
from mmssl_dynamic.models.selfsup.moving_target import SubnetTarget
from mmssl_dynamic.models.selfsup.sdr import SDR, Online
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.subnets import FULL


@MODELS.register_module()
class SDRMoCo(SubnetTarget, SDR):
    """SDR on MoCo-v2. With phase 0 alone this is MoCo-v2.

    Our reading, as of BYOL: a sub-network's query is to find the key of the same sub-network inside of the momentum
    encoder, and SiamKD draws it to the full one's, in MoCo's one direction. All networks share the projector and so one
    queue. :class:`mmssl_dynamic.engine.TargetEMAHook` moves the encoder, by the same momentum at the start and the end.

    Args:
        args: As of :class:`SDR`; the head is mmpretrain's ``ContrastiveHead``.
        queue_len: Q. An update of P x N keys takes the place of the oldest.
        kwargs: As ``args``.
    """

    def __init__(self, *args: Any, queue_len: int = 65536, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.set_directions(self.directions, ("both",))  # that there are in MoCo: one
        self.make_target()
        self.queue: Tensor
        self.register_buffer("queue", F.normalize(torch.randn(self.neck.out_channels, queue_len), dim=0))  # (D, Q)
        self.keys_seen: Tensor
        self.register_buffer("keys_seen", torch.zeros((), dtype=torch.long))

    def online(self, views: Views) -> Online:
        """Queries: projections of the first view."""
        queries = (self.project(views[0]),)
        return Online(queries, queries)

    @torch.no_grad()
    def targets(self, views: Views, online: Online) -> tuple[Tensor, ...]:
        """Keys of the second views of all processes, (P N, D): each normalised among images drawn from all of them."""
        images = torch.cat(all_gather(views[1]))
        # Shuffling BN; the order is a function of the step, so that all processes and a resumed run have the same.
        order = torch.arange(len(images))
        if get_world_size() > 1:
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(int(self.keys_seen)))
        part = order.view(get_world_size(), -1)[get_rank()].to(images.device)
        keys = torch.cat(all_gather(self.target_projection(self.trained_subnet, images[part])))
        return (_unit(keys[order.argsort().to(keys.device)]),)

    def ssl_loss(self, predictions: tuple[Tensor, ...], targets: Sequence[Tensor]) -> Tensor:
        """InfoNCE of the queries of this process; then the keys of all go into the queue."""
        queries, keys = _unit(predictions[0]), targets[0]
        own = keys.chunk(get_world_size())[get_rank()]
        loss = self.head.loss((queries * own).sum(1, keepdim=True), queries @ self.queue.clone())
        if len(keys) > self.queue.shape[1]:
            raise ConfigError(f"queue_len={self.queue.shape[1]} must hold a batch of {len(keys)} images at least.")
        places = (self.keys_seen + torch.arange(len(keys), device=keys.device)) % self.queue.shape[1]
        self.queue[:, places] = keys.T.to(self.queue.dtype)
        self.keys_seen += len(keys)
        return loss

    def teacher(self, view: Tensor) -> Tensor:
        """Projection of the full momentum encoder."""
        return self.target_projection(FULL, view)


def _unit(rows: Tensor) -> Tensor:
    """Rows of length one, in floats under mixed precision, too: bf16 has three digits for a length on a processor."""
    return F.normalize(rows.to(torch.promote_types(rows.dtype, torch.float32)), dim=1)
