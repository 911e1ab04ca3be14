"""The paths of SDR, and the spaces of Algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from mmssl_dynamic.errors import ConfigError, SubnetError
from mmssl_dynamic.subnets.names import FULL, parse_path, path_name


@dataclass(frozen=True)
class PathSpace:
    """All paths through the individual groups of a super-network (SDR Sec. 4.2).

    Args:
        stage_groups: G of every stage, such as ``(4, 4, 4, 4)`` for 256 paths or ``(1, 1, 4, 4)`` for 16. A stage
            with one group is not split: every path has index 0 there.

    Raises:
        ConfigError: a stage has no group.
    """

    stage_groups: tuple[int, ...]

    def __post_init__(self) -> None:
        groups = tuple(self.stage_groups)
        if not groups or any(not isinstance(g, int) or g < 1 for g in groups):
            raise ConfigError(f"stage_groups={self.stage_groups} must hold one positive number of groups per stage.")
        object.__setattr__(self, "stage_groups", groups)

    @property
    def num_paths(self) -> int:
        """K; an unsplit network has none, only ``'full'``."""
        total = prod(self.stage_groups)
        return 0 if total == 1 else total

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """Names of all paths in lexicographic order: the path of cluster ``i`` is ``paths[i]``."""
        if self.num_paths == 0:
            return ()
        return tuple(path_name(p) for p in product(*(range(g) for g in self.stage_groups)))

    @property
    def candidates(self) -> tuple[str, ...]:
        """Every sub-network but the full one: what routing chooses among."""
        return self.paths

    @property
    def names(self) -> tuple[str, ...]:
        """Every sub-network: :attr:`candidates` in their order, then ``'full'``."""
        return (*self.candidates, FULL)

    @property
    def keys(self) -> tuple[str, ...]:
        """The names, which are the keys."""
        return self.names

    def check(self, name: str) -> str:
        """Return ``name`` if the space holds it.

        Raises:
            SubnetError: it does not; the message says what it holds.
        """
        if name == FULL:
            return name
        path = parse_path(name)
        fits = len(path) == len(self.stage_groups) and all(i < g for i, g in zip(path, self.stage_groups))
        if not fits or self.num_paths == 0:
            known = f"'{self.paths[0]}' to '{self.paths[-1]}' and 'full'" if self.paths else "'full' only"
            raise SubnetError(
                f"unknown sub-network '{name}': with stage_groups={self.stage_groups} there are {known}; "
                "choose one of these or use the config the checkpoint was trained with."
            )
        return name

    def canonical(self, name: str) -> str:
        """The name that :meth:`check` returns: there are no others in files."""
        return self.check(name)

    def record(self) -> dict[str, Any]:
        """The space as plain data."""
        return {"kind": "path", "stage_groups": list(self.stage_groups)}

    @property
    def num_phases(self) -> int:
        """Phases of progressive training: one for W_0 alone and one for every split stage."""
        return 1 + sum(g > 1 for g in self.stage_groups)

    def phase(self, index: int) -> tuple[str, ...]:
        """The network space N of a phase (SDR Sec. 4.2, Algorithm 1): ``'full'`` first, then paths in order.

        Phase 0 holds W_0 alone. Phase p adds the paths that differ only in the last p split stages, the indices
        of all earlier stages fixed at 0: 4, 16, 64, 256 paths for ``(4, 4, 4, 4)``.
        """
        if not 0 <= index < self.num_phases:
            raise ConfigError(
                f"phase {index} does not exist: stage_groups={self.stage_groups} has {self.num_phases} phases."
            )
        split = [s for s, g in enumerate(self.stage_groups) if g > 1]
        open_stages = set(split[len(split) - index :])
        choices = [range(g) if s in open_stages else (0,) for s, g in enumerate(self.stage_groups)]
        return (FULL, *(path_name(p) for p in product(*choices))) if index else (FULL,)
