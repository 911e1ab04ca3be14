"""Which networks a sandwich step trains, and how much each of them counts (DSPNet Sec. 4.1, US3L, SlimCLR, POA).

All of it depends on the seed and the step alone: processes agree on it, and a resumed run goes on with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.subnets import SlimmableSpace, WidthsOfPath

LOSS_WEIGHTS = ("equal", "width", "largest")


def draw_networks(
    names: Sequence[str], count: int, seed: int, step: int, chances: Sequence[float] | None = None
) -> tuple[str, ...]:
    """The networks of a step: smallest, largest and ``count - 2`` random others, in the order of ``names``.

    Args:
        names: All networks from the smallest to the largest.
        count: How many to train; 1 draws the largest alone.
        seed: Of the run.
        step: Number of the optimiser step.
        chances: How often each of ``names`` is drawn relative to the others; equally often when left out.

    Raises:
        ConfigError: ``count`` is not between 1 and the number of networks.
    """
    if not 1 <= count <= len(names):
        raise ConfigError(f"num_networks={count} must lie between 1 and the {len(names)} networks that there are.")
    if count == 1:
        return (names[-1],)
    rng = np.random.default_rng([seed, step])
    between = np.asarray(() if chances is None else chances[1:-1], dtype=float)
    if len(between):
        drawn = rng.choice(len(between), count - 2, replace=False, p=between / between.sum())
    else:
        drawn = rng.permutation(len(names) - 2)[: count - 2]
    return (names[0], *(names[i] for i in sorted(index + 1 for index in drawn)), names[-1])


def draw_any_widths(
    space: SlimmableSpace, count: int, seed: int, step: int, lowest: float, favour_small: float = 0.0
) -> tuple[str, ...]:
    """The same of a network with any width (US3L): those between are drawn from the whole range.

    Args:
        space: The networks, of any width.
        count: How many to train; 1 draws the largest alone.
        seed: Of the run.
        step: Number of the optimiser step.
        lowest: The smallest width of the range.
        favour_small: p of the density width ** -p that widths are drawn from; 0 is uniform.
    """
    high = space.widths[-1]
    if count == 1 or lowest >= high:
        return (space.largest,)
    rng = np.random.default_rng([seed, step])
    drawn = np.sort(_power_law(rng.random(count - 2), lowest, high, favour_small))
    depths = space.blocks or (None,)
    # Three digits name a width: eight channels of a thousand are 0.008.
    names = [space.name_of(lowest if lowest in space.widths else round(lowest, 3), depths[0])]
    for width in drawn:
        names.append(space.name_of(round(float(width), 3), depths[int(rng.integers(len(depths)))]))
    return tuple(dict.fromkeys(space.canonical(name) for name in (*names, space.largest)))


def _power_law(uniform: np.ndarray, low: float, high: float, power: float) -> np.ndarray:
    """Numbers from 0 to 1 to the range, by the inverse of the distribution with density x ** -power."""
    if power == 1:
        return low * (high / low) ** uniform
    edges = low ** (1 - power), high ** (1 - power)
    return (edges[0] + uniform * (edges[1] - edges[0])) ** (1 / (1 - power))


def lowest_width(space: SlimmableSpace | WidthsOfPath, progress: float) -> float:
    """Dynamic sampling (US3L Sec. 3.3): the range of widths opens from the largest down over the training.

    Its four quarters have the largest width alone, then two thirds, one third and nothing of the range left out.

    Args:
        space: The networks.
        progress: Share of the training that is done, from 0 to 1.
    """
    low, high = space.widths[0], space.widths[-1]
    quarter = min(3, int(4 * progress))
    return (high, low + 2 / 3 * (high - low), low + 1 / 3 * (high - low), low)[quarter]


def loss_weights(space: SlimmableSpace | WidthsOfPath, names: Sequence[str], how: str) -> dict[str, float]:
    """Factors of the losses of a step's networks (SlimCLR).

    Args:
        space: The networks.
        names: Those of the step.
        how: ``'equal'``: 1. ``'width'``: in proportion to the width, 1 on average. ``'largest'``: 1, and of the largest
            the widths of all others more.
    """
    if how == "equal":
        return dict.fromkeys(names, 1.0)
    widths = {name: space.member(name)[0] for name in names}
    if how == "width":
        return {name: width * len(widths) / sum(widths.values()) for name, width in widths.items()}
    others = sum(width for name, width in widths.items() if space.canonical(name) != space.largest)
    return {name: 1.0 + (others if space.canonical(name) == space.largest else 0.0) for name in names}
