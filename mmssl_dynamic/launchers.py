"""The launchers that start several processes of one command, and the place of a process among them."""

from __future__ import annotations

import os

#: Launchers, the names of rank, number of processes and local rank in their environments, and how to call them.
LAUNCHERS = {
    "pytorch": (("RANK", "WORLD_SIZE", "LOCAL_RANK"), "torchrun --nproc_per_node=8"),
    "slurm": (("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"), "srun --ntasks=8 python"),
    "mpi": (
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
        "mpirun -np 8 -x MASTER_ADDR python",
    ),
}
# How many processes a launcher started on this machine, by whatever name it says so.
_ON_THIS_MACHINE = ("LOCAL_WORLD_SIZE", "SLURM_NTASKS_PER_NODE", "OMPI_COMM_WORLD_LOCAL_SIZE")


def rank_of(launcher: str) -> int:
    """Place of this process among those of a launcher; 0 for the first one, and without a launcher."""
    if launcher not in LAUNCHERS:
        return 0
    return int(os.environ.get(LAUNCHERS[launcher][0][0], "0"))


def not_among_them() -> dict[str, str]:
    """The environment for a process that one of a launcher's starts, and that is none of them.

    How many there are on this machine stays, for they share its cores.
    """
    own = {name for names, _ in LAUNCHERS.values() for name in names}
    return {name: value for name, value in os.environ.items() if name not in own}


def processes_here() -> int:
    """How many processes a launcher has started on this machine; 1 without one."""
    counts = [os.environ.get(name, "") for name in _ON_THIS_MACHINE]
    return max(1, next((int(count) for count in counts if count.isdigit()), 1))
