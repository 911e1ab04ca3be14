import os
import socket
import subprocess
import sys
from datetime import timedelta

import pytest
from mmengine.config import Config

from mmssl_dynamic.engine.processes import LAUNCHERS, start_processes, wait_of
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


def test_a_process_waits_for_the_others_as_long_as_the_config_says(monkeypatch):
    wait = wait_of(Config(dict(env_cfg=dict(dist_cfg=dict(timeout=1)))))
    assert wait == timedelta(seconds=1)
    assert wait_of(Config()) is None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    around = {"RANK": 0, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    for name, value in around.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(Exception, match="after [12] seconds"):  # and not torch's 30 minutes
        start_processes("pytorch", wait)
