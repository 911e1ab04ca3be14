"""Tests that fork find no traces of those that ran before."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tests.processes import run_together


def _train():
    torch.ones(2, requires_grad=True).sum().backward()


def test_a_forked_process_trains_after_fake_tensors_and_a_training(tmp_path):
    with FakeTensorMode():
        torch.zeros(2)
    _train()
    (ended,) = run_together(lambda rank: _train(), tmp_path, count=1)
    assert ended.status == 0, ended.errors
