"""Paths of several widths: each network is its plain twin, whole paths are SDR's, one path is a slimmable ResNet."""

import pytest
import torch
from mmpretrain.registry import MODELS

from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.models import SDRResNet, SDRSlimmableResNet, SlimmableResNet, StaticResNet
from mmssl_dynamic.models.backbones import Origin
from mmssl_dynamic.models.elastic import active_regions

TINY = dict(depth=18, stage_channels=(16, 16, 32, 32), stage_groups=(1, 2, 1, 4), stem_channels=16)
NAMES = ("0-1-0-3@w0.25", "0-1-0-3@w0.5", "0-0-0-0@w0.75", "0-1-0-3", "full")


def make(kind=SDRSlimmableResNet, **options):
    torch.manual_seed(0)
    net = kind(**{"out_indices": (0, 1, 2, 3), **TINY, **options})
    for parameter in net.parameters():  # BatchNorm's weights too: ones would hide a wrong slice
        torch.nn.init.normal_(parameter, std=0.1 if parameter.ndim > 1 else 1.0)
    return net


def images(seed=0):
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def net():
    return make()


def indices(selection, total):
    ranges = ((0, total),) if selection is None else selection.ranges
    return [i for a, b in ranges for i in range(a, b)]


@pytest.mark.parametrize("name", NAMES)
def test_an_active_network_is_its_static_twin_to_the_bit(net, name):
    x = images()
    twin = net.static(name).train()
    net.zero_grad()
    with net.subnet(name):
        outputs, channels, regions = net(x), net.out_channels, active_regions(net)
    expected = twin(x)
    assert channels == twin.out_channels == tuple(y.shape[1] for y in expected)
    assert all(torch.equal(y, z) for y, z in zip(outputs, expected))
    sum(y.square().mean() for y in outputs).backward()
    sum(z.square().mean() for z in expected).backward()
    plain = dict(twin.named_parameters())
    assert net.num_parameters(name) == sum(p.numel() for p in plain.values())
    for key, parameter in net.named_parameters():
        inside = parameter.grad
        for dimension, selection in enumerate(regions.get(parameter, ())):
            picked = torch.tensor(indices(selection, parameter.shape[dimension]))
            inside = inside.index_select(dimension, picked)
        assert torch.equal(inside, plain[key].grad), key
        assert torch.count_nonzero(parameter.grad) == torch.count_nonzero(inside), key  # nothing moves outside


def test_a_narrower_network_takes_prefixes_of_the_shared_channels_and_of_the_group(net):
    """Stage 3: 16 shared channels and four groups of 4; stage 1: 8 shared and two groups of 4."""
    picked = dict(net.selections("0-1-0-3@w0.5"))
    assert picked[net.layer4[0].bn1.channels].ranges == ((0, 8), (28, 30))
    assert picked[net.layer2[0].bn1.channels].ranges == ((0, 4), (12, 14))
    assert picked[net.layer1[0].bn1.channels].ranges == ((0, 8),)  # not split
    assert picked[net.bn1.channels].ranges == ((0, 8),)
    whole = make(slim_stem=False, stem_channels=20)
    assert dict(whole.selections("0-1-0-3@w0.5"))[whole.bn1.channels] is None
    assert whole.static("0-1-0-3@w0.5").stem_channels == 20


def test_every_width_of_a_path_holds_the_narrower_ones(net):
    kept = [dict(net.selections(name)) for name in net.space.widths_of("0-1-0-2")]
    for narrow, wide in zip(kept, kept[1:]):
        for channels in narrow:
            inner, outer = (set(indices(k[channels], channels.total)) for k in (narrow, wide))
            assert inner < outer


def test_whole_paths_are_those_of_sdr_to_the_bit(net):
    sdr = make(SDRResNet)
    sdr.load_state_dict({k: v for k, v in net.state_dict().items() if k != "switches"}, strict=True)
    assert net.space.paths == sdr.space.paths
    for name in ("full", "0-1-0-3", "0-0-0-1"):
        results = []
        for one in (net, sdr):
            one.zero_grad()
            with one.subnet(name):
                outputs = one(images(3))
            sum(y.square().mean() for y in outputs).backward()
            results.append((outputs, [p.grad for p in one.parameters()]))
        for one, other in zip(*results):
            assert all(torch.equal(y, z) for y, z in zip(one, other))


def test_one_path_is_a_slimmable_resnet_to_the_bit():
    """With the stage widths that the path has at each width, and DSPNet's stem, which is as wide as the first stage."""
    channels = [[8, 8, 16, 16], [16, 16, 32, 32]]
    one = make(stage_groups=(1, 1, 1, 1), widths=(0.5, 1.0))
    other = SlimmableResNet(channels=channels, blocks=((2, 2, 2, 2),), out_indices=(0, 1, 2, 3))
    other.load_state_dict({**one.state_dict(), "switches": other.switches}, strict=True)
    for name, theirs in zip(one.subnets, other.subnets):
        with one.subnet(name), other.subnet(theirs):
            assert all(torch.equal(y, z) for y, z in zip(one(images()), other(images())))


def test_statistics_belong_to_a_path_and_a_width():
    net = make().eval()
    name = "0-1-0-3@w0.5"
    with net.subnet(name):
        sizes = {layer: norm.channels.size for layer, norm in net.batch_norms(name).items()}
    net.set_bn_statistics(name, {layer: (torch.randn(size), torch.rand(size) + 0.5) for layer, size in sizes.items()})
    for other in ("0-1-0-3", "0-1-0-3@w0.75", "0-0-0-3@w0.5"):
        assert not net.has_bn_statistics(other)
        with net.subnet(other), pytest.raises(MissingStatisticsError):
            net(images())
    with net.subnet(name):
        assert all(torch.equal(y, z) for y, z in zip(net(images()), net.static(name)(images())))


def test_a_fixed_network_is_built_alone_and_keeps_its_name():
    net = make()
    fixed = MODELS.build(dict(net.config("0-1-0-3@w0.5"), out_indices=(3,)))
    assert isinstance(fixed, StaticResNet)
    assert fixed.origin == Origin(net.config(), "0-1-0-3@w0.5")
    fixed.load_state_dict(net.static("0-1-0-3@w0.5").state_dict(), strict=True)
    again = SDRSlimmableResNet(**{k: v for k, v in net.config().items() if k != "type"})
    assert again.config() == net.config()
    assert SDRSlimmableResNet(**TINY, subnet="0-1-0-3@w1.0").origin.subnet == "0-1-0-3"


def test_256_paths_of_four_widths_are_one_set_of_weights():
    with torch.device("meta"):
        net, sdr = SDRSlimmableResNet(depth=50), SDRResNet(depth=50)
    assert len(net.subnets) == 256 * 4 + 1
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in sdr.parameters())
    sizes = [net.num_parameters(name) for name in net.space.widths_of("3-2-1-0")]
    assert sizes == sorted(sizes)
    assert sizes[-1] == sdr.num_parameters("3-2-1-0")
    assert 0.05 < sizes[0] / sizes[-1] < 0.08  # a sixteenth, and the projections' rounding


def test_weights_of_other_widths_are_refused_and_those_of_sdr_are_not(net):
    other = make(widths=(0.5, 1.0))
    with pytest.raises(ArtifactError, match="trained with the networks"):
        other.load_state_dict(net.state_dict())
    state = make(SDRResNet).state_dict()
    assert other.load_state_dict(state, strict=False).missing_keys == ["switches"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(widths=(0.5, 2.0)), "end with 1.0"),
        (dict(widths=(0.99, 1.0)), "the same channels"),
        (dict(slim_stem=False), "equal in one of them"),
        (dict(subnet="0-1-0-3@w0.6"), "w0.75"),
    ],
)
def test_wrong_options_are_named_in_one_sentence(options, message):
    with pytest.raises((ConfigError, SubnetError), match=message) as error:
        SDRSlimmableResNet(**{**TINY, **options})
    assert "\n" not in str(error.value)
