"""Latency: what is measured and under which conditions; no assertion on time itself."""

import pytest
import torch
from torch import nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.latency import Latency, latency
from mmssl_dynamic.records import read_record


class Counter(nn.Module):
    """Notes what every pass looks like."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 2, 1)
        self.passes = []

    def forward(self, x):
        self.passes.append((tuple(x.shape), self.training, torch.is_inference_mode_enabled()))
        return self.conv(x)


def test_counts_its_passes_in_inference_and_evaluation_mode_and_leaves_the_network_as_it_was():
    net = Counter().train()
    found = latency(net, (8, 6), batch_size=3, repeats=5, warm_up=2)
    assert net.passes == [((3, 4, 8, 6), False, True)] * 7  # channels are those of the first convolution
    assert net.training
    assert (found.repeats, found.warm_up, found.batch_size, found.image_size) == (5, 2, 3, (8, 6))
    assert found.threads == torch.get_num_threads()
    assert 0 < found.low_ms <= found.median_ms <= found.high_ms


def test_conditions_are_told_in_words_and_survive_a_record():
    found = latency(Counter(), 8, repeats=3, warm_up=1)
    assert read_record(Latency, found.record()) == found
    assert found.conditions.startswith("median of 3 passes after 1, 1 image of 8 x 8 px, CPU")
    assert "1 thread" in found.conditions


@pytest.mark.parametrize("options", [dict(size=0), dict(batch_size=0), dict(repeats=0), dict(warm_up=-1)])
def test_impossible_numbers_are_refused(options):
    with pytest.raises(ConfigError, match="positive numbers"):
        latency(Counter(), **{"size": 8, **options})
