import os
import subprocess
import sys

import pytest

from mmssl_dynamic.lost_workers import LOST, has_lost_worker

# The system ends a loader process; the command computes on, and has two others.
COMMAND = """
import os, signal, time
from mmssl_dynamic import cli

def main():
    import torch
    from torch.utils.data import DataLoader

    class Images:
        def __len__(self):
            return 60
        def __getitem__(self, index):
            if index == 12:
                os.kill(os.getpid(), signal.SIGKILL)
            return torch.zeros(1)

    for batch in DataLoader(Images(), batch_size=2, num_workers=3):
        time.sleep(0.3)

cli.run(main)
"""


def test_a_command_ends_in_one_sentence(repo_root):
    env = dict(os.environ, PYTHONPATH=str(repo_root), OMP_NUM_THREADS="1")
    ended = subprocess.run([sys.executable, "-c", COMMAND], env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == f"error: {LOST}"
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("DataLoader worker (pid 12) is killed by signal: Killed. ", True),
        ("DataLoader worker (pid(s) 12, 13) exited unexpectedly", True),
        ("DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that ...", False),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_what_says_that_a_process_is_gone(text, lost):
    error, later = ValueError("of the loop"), KeyError("of what tidied up")
    error.__cause__ = RuntimeError(text)
    later.__context__ = error
    assert has_lost_worker(later) is has_lost_worker(error) is has_lost_worker(error.__cause__) is lost
