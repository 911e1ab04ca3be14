import copy

import pytest
import torch
from torch import nn

from mmssl_dynamic.errors import ConfigError, MissingStatisticsError
from mmssl_dynamic.models.elastic import (
    ActiveSubnet,
    Channels,
    ElasticBatchNorm,
    ElasticConv2d,
    ElasticLinear,
    Selection,
    active_regions,
    gather,
    inactive_blocks,
    select,
)

TWO_RANGES = Selection(12, ((0, 6), (8, 10)))
PREFIX = Selection(12, ((0, 5),))


def index(selection, total):
    """The selected channels as an index tensor: an independent way to slice."""
    if selection is None:
        return torch.arange(total)
    return torch.cat([torch.arange(a, b) for a, b in selection.ranges])


@pytest.mark.parametrize("ranges", [((0, 3), (3, 5)), ((2, 4),), ((0, 12),)])
def test_selection_merges_touching_ranges_and_knows_its_complement(ranges):
    selection = Selection(12, ranges)
    chosen = {c for a, b in selection.ranges for c in range(a, b)}
    rest = {c for a, b in selection.complement for c in range(a, b)}
    assert chosen == {c for a, b in ranges for c in range(a, b)}
    assert chosen | rest == set(range(12))
    assert not chosen & rest
    assert selection.size == len(chosen)


@pytest.mark.parametrize("ranges", [(), ((3, 3),), ((4, 2),), ((0, 13),), ((0, 5), (4, 6)), ((5, 6), (0, 2))])
def test_impossible_ranges_are_refused(ranges):
    with pytest.raises(ConfigError):
        Selection(12, ranges)


@pytest.mark.parametrize("rows", [None, TWO_RANGES, PREFIX])
@pytest.mark.parametrize("columns", [None, TWO_RANGES, PREFIX])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.usefixtures("copying")
def test_gather_equals_indexing_and_scatters_its_gradient(rows, columns, channels_last):
    torch.manual_seed(0)
    weight = torch.randn(12, 12, 3, 3)
    if channels_last:
        weight = weight.contiguous(memory_format=torch.channels_last)
    ours = weight.clone().requires_grad_()
    theirs = weight.clone().requires_grad_()
    block = gather(ours, (rows, columns))
    expected = theirs[index(rows, 12)][:, index(columns, 12)]
    assert torch.equal(block, expected)
    factor = torch.randn_like(expected)
    (block * factor).sum().backward()
    (expected * factor).sum().backward()
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("region", [(TWO_RANGES, PREFIX), (PREFIX, None), (None, TWO_RANGES), (TWO_RANGES,)])
def test_inactive_blocks_tile_exactly_what_the_region_leaves_out(region):
    shape = (12, 12, 2)[: max(2, len(region))]
    touched = torch.zeros(shape)
    for block in inactive_blocks(touched, region):
        touched[block] += 1
    active = torch.zeros(shape, dtype=torch.bool)
    view = torch.ones(shape, dtype=torch.bool)
    for dimension, selection in enumerate(region):
        mask = torch.zeros(shape[dimension], dtype=torch.bool)
        mask[index(selection, shape[dimension])] = True
        view &= mask.view([-1 if d == dimension else 1 for d in range(len(shape))])
    active |= view
    assert torch.equal(touched, (~active).float())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("out", "inp"), [(TWO_RANGES, PREFIX), (PREFIX, None), (None, TWO_RANGES), (None, None)])
def test_elastic_conv_equals_the_convolution_with_the_selected_weight(bias, out, inp):
    torch.manual_seed(1)
    subnet = ActiveSubnet()
    inputs, outputs = Channels(12, subnet), Channels(12, subnet)
    conv = ElasticConv2d(inputs, outputs, 3, padding=1, bias=bias)
    i, o = index(inp, 12), index(out, 12)
    twin = nn.Conv2d(len(i), len(o), 3, padding=1, bias=bias)
    with torch.no_grad():
        twin.weight.copy_(conv.weight[o][:, i])
        if bias:
            twin.bias.copy_(conv.bias[o])
    x = torch.randn(2, len(i), 5, 5)
    with select(subnet, "w", [(inputs, inp), (outputs, out)]):
        y = conv(x)
    assert torch.equal(y, twin(x))
    y.square().sum().backward()
    twin(x).square().sum().backward()
    expected = torch.zeros_like(conv.weight)
    expected[o[:, None], i[None]] = twin.weight.grad
    torch.testing.assert_close(conv.weight.grad, expected)


def test_depthwise_conv_selects_channels_and_groups_together():
    subnet = ActiveSubnet()
    channels, outputs = Channels(12, subnet), Channels(12, subnet)
    conv = ElasticConv2d(channels, outputs, 3, padding=1, groups=12)
    x = torch.randn(2, 8, 5, 5)
    with select(subnet, "w", [(channels, TWO_RANGES), (outputs, TWO_RANGES)]):
        y = conv(x)
    rows = index(TWO_RANGES, 12)
    assert torch.equal(y, torch.nn.functional.conv2d(x, conv.weight[rows], conv.bias[rows], padding=1, groups=8))


def test_grouped_conv_selects_whole_groups_only():
    subnet = ActiveSubnet()
    inputs, outputs = Channels(12, subnet), Channels(8, subnet)
    conv = ElasticConv2d(inputs, outputs, 1, groups=4, bias=False)
    groups = Selection(12, ((0, 3), (6, 9))), Selection(8, ((0, 2), (4, 6)))
    x = torch.randn(2, 6, 2, 2)
    with select(subnet, "w", [(inputs, groups[0]), (outputs, groups[1])]):
        y = conv(x)
    assert torch.equal(y, torch.nn.functional.conv2d(x, conv.weight[[0, 1, 4, 5]], groups=2))
    for wrong_in, wrong_out in [(Selection(12, ((0, 4),)), groups[1]), (groups[0], Selection(8, ((0, 4),)))]:
        with (
            select(subnet, "w", [(inputs, wrong_in), (outputs, wrong_out)]),
            pytest.raises(ConfigError, match="convolution groups"),
        ):
            conv(torch.randn(2, wrong_in.size, 2, 2))


def test_elastic_linear_equals_the_linear_layer_with_the_selected_weight():
    subnet = ActiveSubnet()
    inputs, outputs = Channels(12, subnet), Channels(12, subnet)
    linear = ElasticLinear(inputs, outputs)
    x = torch.randn(3, 8)
    with select(subnet, "w", [(inputs, TWO_RANGES), (outputs, PREFIX)]):
        y = linear(x)
    rows, columns = index(PREFIX, 12), index(TWO_RANGES, 12)
    torch.testing.assert_close(y, torch.nn.functional.linear(x, linear.weight[rows][:, columns], linear.bias[rows]))


@pytest.mark.parametrize("shape", [(4, 12), (4, 12, 3), (4, 12, 3, 3)])
def test_full_batch_norm_equals_torchs_buffers_included(shape):
    ours = ElasticBatchNorm(Channels(12))
    theirs = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)](12)
    theirs.load_state_dict(ours.state_dict())
    for _ in range(3):
        x = torch.randn(shape)
        assert torch.equal(ours(x), theirs(x))
    ours.eval(), theirs.eval()
    assert torch.equal(ours(x), theirs(x))
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_batch_norm_of_a_subnet_uses_its_batch_and_leaves_the_running_buffers_alone():
    subnet = ActiveSubnet()
    channels = Channels(12, subnet)
    norm = ElasticBatchNorm(channels)
    nn.init.uniform_(norm.weight), nn.init.uniform_(norm.bias)
    before = copy.deepcopy(norm.state_dict())
    x = torch.randn(4, 8, 3, 3)
    rows = index(TWO_RANGES, 12)
    with select(subnet, "a", [(channels, TWO_RANGES)]):
        y = norm(x)
    expected = torch.nn.functional.batch_norm(x, None, None, norm.weight[rows], norm.bias[rows], True)
    assert torch.equal(y, expected)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


def test_batch_norm_refuses_to_evaluate_a_subnet_without_statistics_even_if_it_uses_all_channels():
    subnet = ActiveSubnet()
    channels = Channels(12, subnet)
    norm = ElasticBatchNorm(channels).eval()
    with select(subnet, "a", [(channels, None)]), pytest.raises(MissingStatisticsError, match="'a'"):
        norm(torch.randn(2, 12))
    norm.set_statistics("a", torch.ones(12), torch.full((12,), 4.0), 12)
    with select(subnet, "a", [(channels, None)]):
        torch.testing.assert_close(norm(torch.full((2, 12), 3.0)), torch.ones(2, 12), atol=1e-4, rtol=0)


def test_a_subnet_is_active_inside_its_block_only_also_after_an_error():
    subnet = ActiveSubnet()
    channels = Channels(12, subnet)
    with select(subnet, "a", [(channels, TWO_RANGES)]):
        inside = []
        with pytest.raises(ZeroDivisionError), select(subnet, "b", [(channels, PREFIX)]):
            inside.append((subnet.name, channels.size)) or 1 / 0
        assert inside == [("b", 5)]
        assert (subnet.name, channels.size) == ("a", 8)
    assert (subnet.name, channels.size) == ("full", 12)


def test_a_weight_is_gathered_once_per_block_and_anew_after_a_step():
    subnet = ActiveSubnet()
    inputs, outputs = Channels(12, subnet), Channels(12, subnet)
    layer = ElasticLinear(inputs, outputs, bias=False)
    x = torch.randn(2, 8)
    choice = [(inputs, TWO_RANGES), (outputs, PREFIX)]
    with select(subnet, "a", choice):
        layer(x)
        first = layer._gathered["weight"][1]
        layer(x)
        assert layer._gathered["weight"][1] is first
        with torch.no_grad():
            layer.weight.add_(1.0)
        changed = layer(x)
        assert layer._gathered["weight"][1] is not first
        with torch.no_grad():
            assert not layer(x).requires_grad
        assert layer(x).requires_grad
    assert not layer._gathered
    torch.testing.assert_close(changed, x @ layer.weight[:5][:, index(TWO_RANGES, 12)].T)


def test_gathered_weights_are_cast_once_under_autocast():
    subnet = ActiveSubnet()
    inputs, outputs = Channels(12, subnet), Channels(12, subnet)
    layer = ElasticLinear(inputs, outputs)
    with (
        select(subnet, "a", [(inputs, TWO_RANGES), (outputs, PREFIX)]),
        torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        y = layer(torch.randn(2, 8))
        assert layer._gathered["weight"][1].dtype is torch.bfloat16
    y.float().sum().backward()
    assert layer.weight.grad.dtype is torch.float32


def test_active_regions_name_what_takes_part():
    subnet = ActiveSubnet()
    inputs, outputs = Channels(3, subnet), Channels(12, subnet)
    net = nn.Sequential(ElasticConv2d(inputs, outputs, 1), ElasticBatchNorm(outputs))
    assert active_regions(net) == {}
    with select(subnet, "a", [(outputs, PREFIX)]):
        regions = active_regions(net)
    assert regions[net[0].weight] == (PREFIX, None)
    assert set(regions) == {net[0].weight, net[0].bias, net[1].weight, net[1].bias}
