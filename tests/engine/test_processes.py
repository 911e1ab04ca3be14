import os
import socket
import subprocess
import sys

import pytest

from mmssl_dynamic.engine.processes import LAUNCHERS, start_processes
from mmssl_dynamic.errors import ConfigError

SUM = """
import sys, torch, torch.distributed as dist
from mmssl_dynamic.engine.processes import start_processes, stop_processes
start_processes(sys.argv[1])
total = torch.tensor([dist.get_rank() + 1.0])
dist.all_reduce(total)
print(int(total), dist.get_world_size())
stop_processes()
"""


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_of_every_launcher_find_each_other(launcher, repo_root):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rank, size, local = LAUNCHERS[launcher][0]
    running = []
    for index in range(2):
        environment = {
            rank: str(index),
            size: "2",
            local: str(index),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        environment = {**os.environ, **environment, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(repo_root)}
        command = [sys.executable, "-c", SUM, launcher]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    assert [process.communicate(timeout=120)[0].split() for process in running] == [["3", "2"]] * 2


def test_a_launcher_that_is_not_known_or_did_not_start_the_process_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match="--launcher ssh is not known; use one of none, pytorch, slurm, mpi"):
        start_processes("ssh")
    for launcher, (names, call) in LAUNCHERS.items():
        for name in names:
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(ConfigError, match=f"--launcher {launcher} needs {call.split()[0]}: "):
            start_processes(launcher)
    start_processes("none")
