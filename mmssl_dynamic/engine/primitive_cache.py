"""Keeping oneDNN's compiled operators, where convolutions run on the CPU."""

from __future__ import annotations

import os

_VARIABLE = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
_CAPACITY = 8192


def keep_compiled_operators() -> None:
    """Let oneDNN keep its operators for all networks of a super-network; for the whole process.

    oneDNN compiles an operator for every shape and keeps the 1,024 used last. A slimmable network has some 200 per
    width (forwards, backwards, target), so with five widths a step could find those of the step before thrown out.
    Only works before the first convolution of the process; a value that the user has set stays.
    """
    os.environ.setdefault(_VARIABLE, str(_CAPACITY))
