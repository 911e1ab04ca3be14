"""Joining the processes that a launcher started, where no Runner does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from mmssl_dynamic.errors import ConfigError

#: Launchers, the names of rank, number of processes and local rank in their environments, and how to call them.
LAUNCHERS = {
    "pytorch": (("RANK", "WORLD_SIZE", "LOCAL_RANK"), "torchrun --nproc_per_node=8"),
    "slurm": (("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"), "srun --ntasks=8 python"),
    "mpi": (
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
        "mpirun -np 8 -x MASTER_ADDR python",
    ),
}


def wait_of(config: Mapping[str, Any]) -> timedelta | None:
    """How long a process of a run waits for the others, ``env_cfg.dist_cfg.timeout``; ``None``: as long as torch's own.

    Args:
        config: Config of the run.
    """
    seconds = ((config.get("env_cfg") or {}).get("dist_cfg") or {}).get("timeout")
    return None if seconds is None else timedelta(seconds=int(seconds))


def start_processes(launcher: str, wait: timedelta | None = None) -> None:
    """Join the processes of a launcher, with NCCL where there is CUDA, else with gloo.

    Args:
        launcher: ``'none'`` or one of :data:`LAUNCHERS`.
        wait: How long each waits for the others, see :func:`wait_of`; torch's own when left out.

    Raises:
        ConfigError: the launcher is not known, or did not start this process.
    """
    if launcher == "none" or dist.is_initialized():
        return
    if launcher not in LAUNCHERS:
        raise ConfigError(f"--launcher {launcher} is not known; use one of none, {', '.join(LAUNCHERS)}.")
    names, call = LAUNCHERS[launcher]
    if any(name not in os.environ for name in names[:2]):
        raise ConfigError(f"--launcher {launcher} needs {call.split()[0]}: {call} tools/... --launcher {launcher}")
    if torch.cuda.is_available():
        from mmengine.dist import init_dist

        init_dist(launcher, backend="nccl", **({} if wait is None else {"timeout": wait.total_seconds()}))
        return
    for own, name in zip(("RANK", "WORLD_SIZE", "LOCAL_RANK"), names):
        os.environ[own] = os.environ.get(name, "0")
    os.environ.setdefault("MASTER_PORT", "29500")
    if "MASTER_ADDR" not in os.environ:
        raise ConfigError(f"--launcher {launcher} needs MASTER_ADDR, the host of the first process; export it.")
    dist.init_process_group("gloo", timeout=wait)


def stop_processes() -> None:
    """Leave them."""
    if dist.is_initialized():
        dist.destroy_process_group()
