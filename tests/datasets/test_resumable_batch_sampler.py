"""Draws depend on seed and step alone: not on where a run began, how many workers load, or how many processes train."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmssl_dynamic.datasets import ResumableBatchSampler, SampleRequest, SeededDataset
from mmssl_dynamic.errors import ConfigError, DataError


class Noise:
    """Samples that are random in every way transforms are."""

    metainfo = {"classes": ("a",)}

    def __init__(self, length=23):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return index, random.random(), float(np.random.rand()), float(torch.rand(()))


def sampler(rank=0, world_size=1, batch_size=8, seed=0, length=23):
    default = SimpleNamespace(dataset=SeededDataset(Noise(length)), seed=seed, rank=rank, world_size=world_size)
    return ResumableBatchSampler(default, batch_size)


def test_an_epoch_is_a_shuffled_pass_and_the_next_one_another():
    batches = sampler()
    assert len(batches) == 2
    first, second = list(batches), list(batches)
    for epoch in (first, second):
        assert [len(batch) for batch in epoch] == [8, 8]
        images = [draw.index for batch in epoch for draw in batch]
        assert len(set(images)) == 16
        assert images != sorted(images)
    assert first != second
    assert first == list(sampler())
    assert first != list(sampler(seed=1))


def test_a_resumed_run_goes_on_inside_the_epoch():
    whole = sampler(batch_size=4)
    steps = [batch for _ in range(3) for batch in whole]
    for start in range(15):
        resumed = sampler(batch_size=4)
        resumed.start_at(start)
        assert [batch for _ in range(3) for batch in resumed][: 15 - start] == steps[start:]
    at_the_end = sampler(batch_size=4)
    at_the_end.start_at(5, 0)  # a checkpoint of the first epoch's last step
    assert list(at_the_end) == []
    assert list(at_the_end) == steps[5:10]


def test_two_processes_draw_the_batches_of_one():
    one, two = list(sampler(0, 2, 4)), list(sampler(1, 2, 4))
    assert [a + b for a, b in zip(one, two)] == list(sampler())


def test_a_sample_depends_on_its_draw_alone_and_leaves_the_generators_as_they_were():
    dataset = SeededDataset(Noise())
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = random.random(), np.random.rand(), torch.rand(())
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    sample = dataset[SampleRequest(3, None, 7)]
    assert (random.random(), np.random.rand(), torch.rand(())) == expected
    assert dataset[SampleRequest(3, None, 7)] == sample
    assert dataset[SampleRequest(3, None, 8)] != sample
    assert dataset.metainfo == {"classes": ("a",)}


def test_wrong_use_is_explained():
    with pytest.raises(ConfigError, match="ResumableBatchSampler"):
        SeededDataset(Noise())[3]
    with pytest.raises(DataError, match="7 images, fewer than a batch of 8"):
        sampler(length=7)
    with pytest.raises(ConfigError, match="batch_size=0"):
        sampler(batch_size=0)
    with pytest.raises(ConfigError, match="needs a SeededDataset, not Noise"):
        ResumableBatchSampler(SimpleNamespace(dataset=Noise(), seed=0, rank=0, world_size=1), 2)
