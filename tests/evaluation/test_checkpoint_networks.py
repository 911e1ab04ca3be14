"""Networks that go through the images together."""

import torch

from mmssl_dynamic.evaluation.checkpoint_networks import CheckpointNetworks
from mmssl_dynamic.models import SlimmableResNet
from tests.helpers import randomise

OPTIONS = dict(channels=[[8] * 4], blocks=[[1, 1, 1, 1]], zero_init_residual=False)
NAME = "w0.033333-d1111"


def test_many_small_networks_do_not_write_more_files_at_once_than_a_process_may_open():
    torch.manual_seed(0)
    found = CheckpointNetworks(randomise(SlimmableResNet(**OPTIONS)), OPTIONS, [NAME], 16)
    groups = found.groups([NAME] * 1000, memory_gib=4)
    assert [len(group) for group in groups] == [256, 256, 256, 232]
    weights_of_two = 2.5 * 4 * found.costs[NAME]["params"] / 2**30
    assert [len(group) for group in found.groups([NAME] * 5, weights_of_two)] == [2, 2, 1]
