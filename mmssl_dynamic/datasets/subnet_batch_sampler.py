"""Draws (sub-network, batch) from the network space of Algorithm 1.

Everything is a function of the seed and the step: all ranks draw the same sub-network, and a resumed run continues as
if it had never stopped. Loader workers run ahead of training, so the sub-network travels with the samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mmssl_dynamic.datasets.sample_request import SampleRequest
from mmssl_dynamic.datasets.shuffled_order import ShuffledOrder
from mmssl_dynamic.datasets.subnet_dataset import SubnetDataset
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.options.text import parse
from mmssl_dynamic.registry import DATA_SAMPLERS
from mmssl_dynamic.subnets import FULL

# Streams of random numbers that must not coincide.
_NETWORKS, _IMAGES, _AUGMENTATIONS = 0, 1, 2
# W_0 is drawn as often as each path.
UNIFORM = "uniform"


@DATA_SAMPLERS.register_module()
class SubnetBatchSampler:
    """Batch sampler over a :class:`SubnetDataset`.

    Every step draws one network from the space of its phase, then the next batch of a shuffled pass over that network's
    images. An epoch has as many steps as D_0 has batches.

    Args:
        sampler: mmengine's ``DefaultSampler``, which knows data set, seed, rank and number of ranks.
        batch_size: Images per rank and step.
        repeats: Consecutive steps with the same network; set it to ``accumulative_counts`` when gradients accumulate.
        full_share: Share of the steps that train W_0. ``'uniform'``: W_0 is drawn as often as each path of the phase
            (our reading of the paper's "randomly sample"), which of 16 paths leaves it 1/17 of the last phase's steps.
            A number from 0 to 1: that share wherever there are paths to draw, the rest spread evenly over the paths. A
            list of these: one for each phase; phase 0, where there is only W_0, trains it whatever it says.

    Raises:
        ConfigError: ``full_share`` is none of these.
        DataError: a network has fewer images than a batch over all ranks.
    """

    def __init__(
        self, sampler: Any, batch_size: int, repeats: int = 1, full_share: str | float | Sequence[str | float] = UNIFORM
    ) -> None:
        if batch_size < 1 or repeats < 1:
            raise ConfigError(f"batch_size={batch_size} and repeats={repeats} must be at least 1.")
        dataset = sampler.dataset
        if not isinstance(dataset, SubnetDataset):
            raise ConfigError(f"SubnetBatchSampler needs a SubnetDataset, not {type(dataset).__name__}.")
        self.sampler, self.dataset, self.batch_size, self.repeats = sampler, dataset, batch_size, repeats
        self.full_share = read_share(full_share)
        self.seed, self.rank, self.world_size = int(sampler.seed), sampler.rank, sampler.world_size
        self.total_batch = batch_size * self.world_size
        self._networks = dataset.space.names
        self._check_sizes()
        self._schedule: np.ndarray | None = None
        self.start_at(0)
        self._passes: dict[int, tuple[int, np.ndarray]] = {}

    def _check_sizes(self) -> None:
        sizes = {name: len(self.dataset.indices(name)) for name in self._networks}
        name = min(sizes, key=lambda key: sizes[key])
        if sizes[name] < self.total_batch:
            raise DataError(
                f"sub-network '{name}' has {sizes[name]} images, fewer than a batch of {self.total_batch}; use a "
                "smaller train_dataloader.batch_size, fewer clusters, or tools/cluster.py with --min-size."
            )

    def __len__(self) -> int:
        return len(self.dataset) // self.total_batch

    def set_phases(self, spaces: Sequence[Sequence[str]], ends: Sequence[int]) -> None:
        """Fix what is drawn when.

        Args:
            spaces: The network space of every phase.
            ends: The step at which every phase ends; the last one is the number of steps of the whole training.

        Raises:
            ConfigError: ``full_share`` is a list of another length.
        """
        shares = self.full_share if isinstance(self.full_share, tuple) else (self.full_share,) * len(spaces)
        if len(shares) != len(spaces):
            raise ConfigError(f"full_share={list(shares)} must hold {len(spaces)} values, one for each phase.")
        self._shares = [draw_probabilities(space, share) for space, share in zip(spaces, shares)]
        schedule: list[np.ndarray] = []
        start = 0
        index = {name: i for i, name in enumerate(self._networks)}
        for space, end, share in zip(spaces, ends, shares):
            ids = np.array([index[name] for name in space], dtype=np.int32)
            rng = np.random.default_rng([self.seed, _NETWORKS, len(schedule)])
            draws = _draws(rng, space, share, size=-(-(end - start) // self.repeats))
            schedule.append(np.repeat(ids[draws], self.repeats)[: end - start])
            start = end
        self._schedule = np.concatenate(schedule)

    def draw_shares(self, phase: int) -> dict[str, float]:
        """Share of a phase's steps by network, as far as chance follows its probabilities."""
        return self._shares[phase]

    def start_at(self, step: int, epoch: int | None = None) -> None:
        """Continue at this step of the training with what is left of its epoch.

        Args:
            step: The next step, counted from the start of training.
            epoch: The epoch it belongs to. A checkpoint written by an epoch's last step belongs to that epoch, of which
                nothing is left. Defaults to the epoch that ``step`` falls in.
        """
        self._start = step
        self._end = ((step // len(self) if epoch is None else epoch) + 1) * len(self)

    def subnet_at(self, step: int) -> str:
        """The network drawn at a step."""
        return self._networks[self._planned()[step]]

    def drawn(self, steps: int) -> str:
        """A fingerprint of the networks of the first steps."""
        return hashlib.sha256(self._planned()[:steps].tobytes()).hexdigest()

    def _planned(self) -> np.ndarray:
        if self._schedule is None:
            raise ConfigError(
                "SubnetBatchSampler has no phases; add dict(type='mmssl_dynamic.ProgressivePhaseHook') to custom_hooks."
            )
        return self._schedule

    def __iter__(self) -> Iterator[list[SampleRequest]]:
        schedule = self._planned()
        start, end = self._start, min(self._end, len(schedule))
        used = np.bincount(schedule[:start], minlength=len(self._networks))  # batches every network has had
        for step in range(start, end):
            network = int(schedule[step])
            yield self._batch(step, network, int(used[network]))
            used[network] += 1
        self.start_at(end)

    def _batch(self, step: int, network: int, number: int) -> list[SampleRequest]:
        """This rank's part of the network's ``number``-th batch."""
        images = self._images(network, number)
        seeds = np.random.default_rng([self.seed, _AUGMENTATIONS, step]).integers(2**31, size=self.total_batch)
        part = slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)
        name = self._networks[network]
        return [SampleRequest(int(i), name, int(s)) for i, s in zip(images[part], seeds[part])]

    def _images(self, network: int, number: int) -> np.ndarray:
        name = self._networks[network]
        indices = self.dataset.indices(name)
        number_of_pass, offset = divmod(number, len(indices) // self.total_batch)
        part = slice(offset * self.total_batch, (offset + 1) * self.total_batch)
        key = [self.seed, _IMAGES, network, number_of_pass]
        if name != FULL and self.dataset.subnet_data == "full":
            # Every path goes through D_0: 257 orders of 1.28 million images are not laid out, nor one at every step.
            return indices[ShuffledOrder(len(indices), key)[part]]
        held = self._passes.get(network)
        if held is None or held[0] != number_of_pass:
            held = self._passes[network] = (number_of_pass, np.random.default_rng(key).permutation(indices))
        return held[1][part]


def draw_probabilities(space: Sequence[str], share: str | float) -> dict[str, float]:
    """The probability with which a step of a phase trains every network of its space.

    Args:
        space: Their names.
        share: ``full_share`` of :class:`SubnetBatchSampler`.
    """
    if share == UNIFORM or FULL not in space or len(space) == 1:
        return dict.fromkeys(space, 1 / len(space))
    rest = (1 - float(share)) / (len(space) - 1)
    return {name: float(share) if name == FULL else rest for name in space}


def _draws(rng: np.random.Generator, space: Sequence[str], share: str | float, size: int) -> np.ndarray:
    """Positions in ``space``, drawn at random; W_0 with probability ``share``."""
    if share == UNIFORM or FULL not in space or len(space) == 1:
        return rng.integers(len(space), size=size)
    full = list(space).index(FULL)
    paths = rng.integers(len(space) - 1, size=size)
    paths += paths >= full  # all but W_0
    return np.where(rng.random(size) < float(share), full, paths)


def read_share(given: Any) -> str | float | tuple[str | float, ...]:
    """``full_share`` of a :class:`SubnetBatchSampler`: a share of all phases, or one for each.

    Args:
        given: As in a config, or as typed on a command line, where what replaces a string stays a string: ``'0.5'``,
            ``'[uniform,0.5,0.3]'``.

    Raises:
        ConfigError: it is neither.
    """
    share = given
    if isinstance(given, str) and given != UNIFORM:
        try:
            share = parse(given)
        except ValueError:
            share = given  # refused below
    if not isinstance(share, str) and isinstance(share, Sequence):
        return tuple(_checked_number(entry, given) for entry in share)
    return _checked_number(share, given)


def _checked_number(entry: Any, given: Any) -> str | float:
    if entry == UNIFORM or (isinstance(entry, int | float) and not isinstance(entry, bool) and 0 <= entry <= 1):
        return entry
    raise ConfigError(f"full_share={given!r} must be 'uniform', a number from 0 to 1, or a list of these.")
