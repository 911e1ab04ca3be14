"""Moments are pooled exactly, and collecting them changes nothing else."""

import copy

import pytest
import torch
from torch import nn

from mmssl_dynamic.calibration import pooled_statistics
from mmssl_dynamic.errors import DataError
from tests.calibration.bn_reference import assert_close, cumulative, images


def test_one_convolution_and_batch_norm_give_torchs_cumulative_statistics_of_one_giant_batch():
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5))
    batch = images(37) + 3  # a mean far from zero, where variances of batches and of everything differ
    expected = cumulative(net, batch)
    assert_close(pooled_statistics(net, batch.split(10)), expected)  # the last batch holds 7
    assert_close(pooled_statistics(net, [batch]), expected)


def test_pooled_variance_counts_the_spread_between_batches():
    net = nn.Sequential(nn.BatchNorm2d(3))
    drifting = torch.cat([images(10, seed=s) + 5 * s for s in range(4)])
    ((mean, var),) = pooled_statistics(net, drifting.split(10)).values()
    values = drifting.transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(mean, values.mean(1).float())
    torch.testing.assert_close(var, values.var(1).float())
    assert (var > 10 * torch.stack([b.transpose(0, 1).flatten(1).var(1) for b in drifting.split(10)]).mean(0)).all()


def test_one_dimensional_batch_norms_are_covered_with_and_without_affine_parameters():
    net = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3), nn.BatchNorm1d(3, affine=False))
    batch = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))
    first = pooled_statistics(net, batch.split(7))["1"]
    torch.testing.assert_close(first[0], cumulative(net, batch)["1"][0])
    torch.testing.assert_close(first[1], cumulative(net, batch)["1"][1])
    assert set(pooled_statistics(net, [batch])) == {"1", "3"}


def test_collecting_leaves_flags_and_buffers_exactly_as_they_were():
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.BatchNorm2d(4, track_running_stats=False)
    )
    net.train()
    net[1].eval()
    net(images(4))
    before = copy.deepcopy(net.state_dict())
    pooled_statistics(net, images(12).split(5))
    assert [part.training for part in net.modules()] == [True, True, False, True]
    assert net[1].momentum == 0.3
    assert net[2].running_mean is None
    assert not net[2].track_running_stats
    after = net.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert not net[1]._forward_hooks


def test_collecting_leaves_flags_and_buffers_as_they_were_after_an_error():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = copy.deepcopy(net.state_dict())

    def broken():
        yield images(4)
        raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="fire"):
        pooled_statistics(net, broken())
    assert net.training
    assert net[1].training
    assert all(torch.equal(net.state_dict()[k], before[k]) for k in before)


def test_single_values_and_no_images_are_refused():
    net = nn.Sequential(nn.BatchNorm1d(3))
    with pytest.raises(DataError, match="at least two"):
        pooled_statistics(net, [torch.ones(1, 3)])
    with pytest.raises(DataError, match="there are none"):
        pooled_statistics(net, [])


def test_only_the_named_layers_are_collected_and_others_keep_their_statistics():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3))
    net[0].running_mean.fill_(2.0)
    found = pooled_statistics(net, [images(8)], layers=["1"])
    assert list(found) == ["1"]
    with torch.no_grad():
        seen = net[0].eval()(images(8))
    torch.testing.assert_close(found["1"][0], seen.mean((0, 2, 3)))
