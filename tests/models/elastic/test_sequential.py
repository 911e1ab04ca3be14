import torch
from torch import nn

from mmssl_dynamic.models.elastic import (
    ActiveSubnet,
    Channels,
    ElasticConv2d,
    ElasticSequential,
    Selection,
    active_modules,
    select,
)

TWO_OF_FOUR = Selection(4, ((0, 2),))


def make():
    torch.manual_seed(0)
    subnet = ActiveSubnet()
    depth = Channels(4, subnet)
    return subnet, depth, ElasticSequential(*(nn.Linear(3, 3) for _ in range(4)), depth=depth)


def test_all_blocks_run_under_the_names_of_a_plain_sequential():
    _, _, stage = make()
    plain = nn.Sequential(*stage)
    assert list(stage.state_dict()) == list(plain.state_dict())
    x = torch.randn(2, 3)
    assert torch.equal(stage(x), plain(x))


def test_a_shallow_network_runs_the_first_blocks_and_leaves_the_others_without_gradient():
    subnet, depth, stage = make()
    x = torch.randn(2, 3)
    with select(subnet, "shallow", [(depth, TWO_OF_FOUR)]):
        y = stage(x)
    assert torch.equal(y, stage[1](stage[0](x)))
    y.sum().backward()
    assert all(p.grad is not None for p in (*stage[0].parameters(), *stage[1].parameters()))
    assert all(p.grad is None for p in (*stage[2].parameters(), *stage[3].parameters()))
    assert torch.equal(stage(x), stage[3](stage[2](y)))  # all of them again


def test_active_modules_are_the_named_modules_without_inactive_blocks():
    subnet, depth, stage = make()
    images, other = Channels(3, subnet), Channels(3, subnet)
    net = nn.Sequential(ElasticConv2d(images, other, 1), stage)
    assert list(active_modules(net)) == list(net.named_modules())
    with select(subnet, "shallow", [(depth, TWO_OF_FOUR)]):
        names = [name for name, _ in active_modules(net)]
    assert names == ["", "0", "1", "1.0", "1.1"]
