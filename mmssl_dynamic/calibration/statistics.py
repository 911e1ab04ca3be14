"""BatchNorm statistics for the sub-networks that a verb works on: the checkpoint's own, or those of a BN bank."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from mmssl_dynamic.calibration.bn_bank import BANK_FILE, BNBank
from mmssl_dynamic.errors import ConfigError, MissingStatisticsError, UserNotice
from mmssl_dynamic.models.backbones import SuperNetwork

PathLike = str | os.PathLike[str]

#: Where statistics are from that are in the checkpoint itself.
OWN = "checkpoint"


def bank_beside(checkpoint: PathLike) -> Path | None:
    """The BN bank in the folder of a checkpoint, said in one line; ``None`` if there is none."""
    file = Path(checkpoint).parent / BANK_FILE
    if not file.is_file():
        return None
    warnings.warn(UserNotice(f"BatchNorm statistics are those of {file}, beside the checkpoint"), stacklevel=3)
    return file


def find_bank(
    net: nn.Module, checkpoint: PathLike, bank: PathLike | None, names: Sequence[str], bn: str | None = None
) -> Path | None:
    """The bank that networks need: the one that was given, else the one beside the checkpoint.

    Args:
        net: The super-network, or an ordinary backbone.
        checkpoint: Its checkpoint.
        bank: The bank that was given, if any.
        names: The sub-networks.
        bn: Which statistics; ``'prefix'`` are in a bank alone.

    Returns:
        The bank; ``None`` if all statistics are in the checkpoint.

    Raises:
        ConfigError: a bank was given for a backbone that has its statistics in its weights, or prefix statistics are
            asked for where there is no bank.
        MissingStatisticsError: some statistics are neither in the checkpoint nor in a bank beside it.
    """
    if not isinstance(net, SuperNetwork):
        for flag, value in (("--bank", bank), ("--bn prefix", bn == "prefix" or None)):
            if value is not None:
                raise ConfigError(f"a {type(net).__name__} has BatchNorm statistics of its own; leave {flag} out.")
        return None
    if bank is not None:
        return Path(bank)
    missing = next((name for name in names if not net.has_bn_statistics(name)), None)
    if missing is None and bn != "prefix":
        return None
    found = bank_beside(checkpoint)
    if found is None and missing is None:
        raise ConfigError(f"--bn {bn} chooses among the statistics of a BN bank: give --bank, too.")
    if found is None:
        raise MissingStatisticsError(
            f"the checkpoint holds no BatchNorm statistics of sub-network '{missing}', and there is no {BANK_FILE} "
            "beside it: give --bank with the bank that its training or tools/calibrate_bn.py wrote."
        )
    return found


def apply_bank(
    net: nn.Module, names: Sequence[str], checkpoint: PathLike, bank: PathLike | None = None, bn: str | None = None
) -> tuple[Path | None, str]:
    """Give sub-networks their BatchNorm statistics.

    Args:
        net: The super-network, with the checkpoint's weights, or an ordinary backbone.
        names: The sub-networks.
        checkpoint: Its checkpoint.
        bank: BN bank; the one beside the checkpoint where that is needed, when left out.
        bn: ``'path'`` or ``'prefix'``: which of the bank's statistics; ``'path'`` when left out.

    Returns:
        The bank, or ``None``, and where the statistics are from: ``'path'``, ``'prefix'`` or ``'checkpoint'``.

    Raises:
        ArtifactError: the bank belongs to another checkpoint.
        ConfigError, MissingStatisticsError: as :func:`find_bank`.
    """
    file = find_bank(net, checkpoint, bank, names, bn)
    if file is None:
        return None, OWN
    assert isinstance(net, SuperNetwork)
    BNBank.load(file).apply(net, names, bn or "path")
    return file, bn or "path"
