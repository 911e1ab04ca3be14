import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta

import pytest
import torch.distributed as dist
from mmengine.config import Config

from mmssl_dynamic import cli
from mmssl_dynamic.errors import ConfigError, LostProcessError
from mmssl_dynamic.launchers import LAUNCHERS
from mmssl_dynamic.processes import Processes, _results_group, joined, start_processes, wait_of
from tests.processes import run_together

SUM = """
import sys, torch, torch.distributed as dist
from mmssl_dynamic.processes import start_processes, stop_processes
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


@pytest.mark.parametrize(("total", "count"), [(0, 2), (1, 3), (7, 3), (40, 4), (41, 4)])
def test_shares_are_consecutive_equal_but_for_one_and_hold_everything_once(total, count):
    processes = [Processes(rank, count) for rank in range(count)]
    shares = [list(process.share(total)) for process in processes]
    assert sum(shares, []) == list(range(total))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)
    turns = list(zip(*(process.turns(total, 2) for process in processes)))
    assert [index for turn in turns for part in turn for index in part] == list(range(total))
    assert all(max(map(len, turn)) <= 2 for turn in turns)


def test_one_process_alone_takes_everything_in_turns_of_one_and_asks_nobody():
    alone = Processes.now()
    assert alone.own([1, 3, 2]) == [0, 1, 2]
    assert (alone.rank, alone.count, alone.first) == (0, 1, True)
    assert [list(turn) for turn in alone.turns(3)] == [[0], [1], [2]]
    assert alone.gathered("mine") == ["mine"]
    assert alone.told("mine") == "mine"


@pytest.mark.parametrize(
    ("costs", "busy"), [([], [0, 0]), ([5], [5, 0]), ([1] * 7, [4, 3]), ([1, 1, 8, 1, 5, 1, 1], [9, 9])]
)
def test_things_that_take_unequally_long_are_shared_out_evenly(costs, busy):
    shares = [Processes(rank, 2).own(costs) for rank in range(2)]
    assert sorted(sum(shares, [])) == list(range(len(costs)))
    assert [sum(costs[position] for position in share) for share in shares] == busy


def test_what_processes_say_comes_in_their_order_and_the_first_one_tells(tmp_path):
    """NCCL knows only tensors on GPUs, so results go over a group of their own beside the trainings'."""

    def body(rank):
        processes = Processes.now()
        own = _results_group()
        assert own is _results_group()
        assert own is not dist.group.WORLD
        assert dist.get_backend(own) == "gloo"
        assert processes.gathered(rank * 10) == [0, 10]
        assert processes.gathered(rank * 10, to=1) == ([0, 10] if rank else [])
        assert processes.told(rank) == 0

    assert [ended.status for ended in run_together(body, tmp_path)] == [0, 0]


def test_results_are_waited_for_longer_than_trainings_wait(tmp_path):
    def body(rank):
        processes = Processes.now()
        time.sleep(1.5 * rank)
        assert processes.gathered(rank) == [0, 1]

    assert [ended.status for ended in run_together(body, tmp_path, wait=timedelta(seconds=1))] == [0, 0]


@pytest.mark.parametrize(("lost", "says"), [(1, 0), (0, 1)])
def test_the_first_process_that_is_left_says_that_another_has_ended(tmp_path, lost, says):
    def body(rank):
        processes = Processes.now()
        if rank == lost:
            os.kill(os.getpid(), signal.SIGKILL)
        with pytest.raises(LostProcessError, match="another one of the 2 processes has ended") as error:
            processes.wait()
        assert error.value.says

    ended = run_together(body, tmp_path)
    assert ended[lost].status == -signal.SIGKILL
    assert ended[says].status == 0, ended[says].errors


def test_a_process_that_is_told_to_end_stops_in_a_sentence(tmp_path, monkeypatch):
    def body(rank):
        with joined("pytorch") as processes:
            processes.wait()
            if rank == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            processes.wait()

    monkeypatch.setattr("sys.argv", ["verb"])
    ended = run_together(lambda rank: cli.run(lambda: body(rank)), tmp_path)
    assert [end.status for end in ended] == [2, 2]
    assert ended[0].errors.startswith("error: another one of the 2 processes has ended, or all were told to (SIGTERM)")
    assert len(ended[0].errors.splitlines()) == 1
