"""Loader processes that the system ends while they load, most often because memory has run out.

PyTorch raises an error for them wherever the main thread happens to be, and again for every process that ends later.
"""

from __future__ import annotations

import re

_SIGN = re.compile(r"DataLoader worker \(pid(\(s\))? [\d, ]+\) (is killed by signal: Killed|exited unexpectedly)")
LOST = (
    "a loader process was ended by the system, most often because memory has run out; use fewer of them (--workers, or "
    "train_dataloader.num_workers in --cfg-options; 0: none) or a smaller batch."
)


def has_lost_worker(error: BaseException | None) -> bool:
    """Whether an error says so, or one that it came of."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if _SIGN.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False
