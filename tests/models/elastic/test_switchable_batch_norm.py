"""Switchable BatchNorm: each switch is a BatchNorm of its own on a prefix of the channels."""

import copy

import pytest
import torch
from torch import nn

from mmssl_dynamic.errors import ArtifactError, MissingStatisticsError
from mmssl_dynamic.models.elastic import ActiveSubnet, Channels, ElasticBatchNorm, Selection, active_regions, select

SIZES = {"small": 4, "medium": 8, "full": 12}


class Norm:
    """An elastic layer, what activates its sub-networks, and plain layers on the same channels."""

    def __init__(self, own_affine=False, **options):
        torch.manual_seed(0)
        self.subnet = ActiveSubnet()
        self.channels = Channels(12, self.subnet)
        self.layer = ElasticBatchNorm(self.channels, switches=("small", "medium"), switch_affine=own_affine, **options)
        for parameter in self.layer.parameters():
            nn.init.normal_(parameter)
        self.plain = {name: nn.BatchNorm2d(size, **options) for name, size in SIZES.items()}
        for row, (name, size) in enumerate(SIZES.items()):
            for which in ("weight", "bias"):
                own = getattr(self.layer, which)
                if own_affine and name != "full":
                    own = getattr(self.layer, f"switch_{which}")[row]
                getattr(self.plain[name], which).data.copy_(own[:size])

    def activate(self, name, track_statistics=True):
        selection = None if name == "full" else Selection(12, ((0, SIZES[name]),))
        return select(self.subnet, name, [(self.channels, selection)], track_statistics)


ORDER = ("full", "small", "medium", "small", "full", "medium", "medium")


def batches():
    generator = torch.Generator().manual_seed(1)
    return [(name, torch.randn(3, SIZES[name], 4, 4, generator=generator) * 2 + 1) for name in ORDER]


@pytest.mark.parametrize("momentum", [0.1, 0.01, None])
@pytest.mark.parametrize("own_affine", [False, True])
def test_every_switch_tracks_and_evaluates_as_a_batch_norm_of_its_own(own_affine, momentum):
    norm = Norm(own_affine, momentum=momentum)
    for name, x in batches():
        with norm.activate(name):
            assert torch.equal(norm.layer(x), norm.plain[name](x))
    norm.layer.eval()
    for name, x in batches():
        plain = norm.plain[name].eval()
        with norm.activate(name):
            assert torch.equal(norm.layer(x), plain(x))
            mean, var = norm.layer.statistics(name)
            state = norm.layer.active_state()
        assert torch.equal(mean, plain.running_mean)
        assert torch.equal(var, plain.running_var)
        for key in ("weight", "bias", "running_mean", "running_var"):
            assert torch.equal(state[key], plain.state_dict()[key])
    assert norm.layer.switch_batches_tracked.tolist() == [2, 3]
    # Beyond its channels a switch knows nothing.
    assert torch.equal(norm.layer.switch_mean[0, 4:], torch.zeros(8))
    assert torch.equal(norm.layer.switch_var[1, 8:], torch.ones(4))


def test_shared_affine_parameters_collect_the_gradients_of_all_switches():
    norm = Norm()
    assert {name for name, _ in norm.layer.named_parameters()} == {"weight", "bias"}
    expected = torch.zeros(12)
    for name, x in batches()[:3]:
        with norm.activate(name):
            norm.layer(x).square().sum().backward()
        norm.plain[name](x).square().sum().backward()
        expected[: SIZES[name]] += norm.plain[name].weight.grad
    torch.testing.assert_close(norm.layer.weight.grad, expected)


def test_own_affine_parameters_get_the_gradient_of_their_switch_alone():
    norm = Norm(own_affine=True)
    name, x = batches()[2]
    assert name == "medium"
    with norm.activate(name):
        norm.layer(x).square().sum().backward()
        regions = active_regions(norm.layer)
    norm.plain[name](x).square().sum().backward()
    for which in ("weight", "bias"):
        gradient = getattr(norm.layer, f"switch_{which}").grad
        torch.testing.assert_close(gradient[1, :8], getattr(norm.plain[name], which).grad)
        assert torch.count_nonzero(gradient) == torch.count_nonzero(gradient[1, :8]) == 8
        assert getattr(norm.layer, which).grad is None
    assert set(regions) == {norm.layer.switch_weight, norm.layer.switch_bias}


def test_a_scope_that_does_not_track_leaves_every_switch_as_it_was():
    norm = Norm(own_affine=True)
    before = copy.deepcopy(norm.layer.state_dict())
    for name, x in batches():
        with norm.activate(name, track_statistics=False):
            norm.layer(x)
    assert all(torch.equal(value, before[key]) for key, value in norm.layer.state_dict().items())


def test_a_switch_that_never_trained_has_no_statistics_and_refuses_to_evaluate():
    norm = Norm()
    norm.layer.eval()
    name, x = batches()[1]
    with norm.activate(name):
        assert norm.layer.statistics(name) is None
        with pytest.raises(MissingStatisticsError, match="'small'"):
            norm.layer(x)
    assert norm.layer.statistics("full") is not None


def test_statistics_that_were_set_are_those_that_evaluate():
    norm = Norm()
    norm.layer.eval()
    mean, var = torch.randn(4), torch.rand(4) + 0.5
    norm.layer.set_statistics("small", mean, var, 4)
    name, x = batches()[1]
    with norm.activate(name):
        assert all(torch.equal(a, b) for a, b in zip(norm.layer.statistics(name), (mean, var)))
        expected = nn.functional.batch_norm(x, mean, var, norm.layer.weight[:4], norm.layer.bias[:4])
        assert torch.equal(norm.layer(x), expected)
    assert norm.layer.statistics("medium") is None
    assert torch.equal(norm.layer.running_mean, torch.zeros(12))
    with pytest.raises(ArtifactError, match="where it has 4"):
        norm.layer.set_statistics("small", torch.zeros(8), torch.ones(8), 4)


@pytest.mark.parametrize("own_affine", [False, True])
def test_statistics_of_the_switches_survive_a_checkpoint(own_affine):
    norm, fresh = Norm(own_affine), Norm(own_affine)
    for name, x in batches()[:2]:  # the medium one never trains
        with norm.activate(name):
            norm.layer(x)
    nn.init.normal_(fresh.layer.weight)
    fresh.layer.load_state_dict(norm.layer.state_dict(), strict=True)
    fresh.layer.eval(), norm.layer.eval()
    for name, x in batches()[:2]:
        with norm.activate(name), fresh.activate(name):
            assert torch.equal(norm.layer(x), fresh.layer(x))
    assert fresh.layer.statistics("medium") is None


def test_scales_of_all_switches_are_filled_at_once():
    norm = Norm(own_affine=True)
    norm.layer.fill_weight(0)
    for name, x in batches()[:3]:
        with norm.activate(name):
            y = norm.layer(x)
        torch.testing.assert_close(y, norm.plain[name].bias.view(1, -1, 1, 1).expand_as(y))
