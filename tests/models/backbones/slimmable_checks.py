"""What must hold for every slimmable backbone, whatever its architecture."""

import torch

from mmssl_dynamic.models.elastic import ElasticBatchNorm


def randomise(net, seed=0):
    """Random parameters, BatchNorm's too: ones and zeros would hide a wrong slice."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            std = (2 / fan_in) ** 0.5 if parameter.ndim > 2 else 0.2
            values = torch.randn(parameter.shape, generator=generator) * std
            parameter.copy_(values if parameter.ndim > 2 else 1 + values)
    return net


def assert_equals_twin(net, name, x):
    """Outputs and gradients of an active network are those of its static twin, on a prefix of every weight."""
    net.zero_grad()
    twin = net.static(name).train()
    with net.subnet(name):
        outputs = net(x)
        channels = net.out_channels
        assert net.active == net.space.check(name)
    expected = twin(x)
    assert channels == twin.out_channels == tuple(y.shape[1] for y in expected)
    for y, z in zip(outputs, expected):
        torch.testing.assert_close(y, z, rtol=0, atol=1e-5 * float(z.detach().abs().max()))
    sum(y.square().mean() for y in outputs).backward()
    sum(z.square().mean() for z in expected).backward()
    assert net.num_parameters(name) == sum(p.numel() for p in twin.parameters())

    gradients = {key: p.grad for key, p in net.named_parameters() if p.grad is not None}
    switch = getattr(net, "switchable_bn", None) == "all" and net.space.check(name) != "full"
    row = net.space.names.index(name) if switch else None
    seen = set()
    for key, parameter in twin.named_parameters():
        layer, _, what = key.rpartition(".")
        own = f"{layer}.switch_{what}" if switch and isinstance(net.get_submodule(layer), ElasticBatchNorm) else key
        seen.add(own)
        gradient = gradients[own] if own == key else gradients[own][row]
        region = tuple(slice(0, size) for size in parameter.shape)
        scale = float(parameter.grad.abs().max()) + 1e-12
        torch.testing.assert_close(gradient[region], parameter.grad, rtol=0, atol=2e-4 * scale)
        # The weights outside, and the rows of other switches, get a gradient of exactly zero.
        assert torch.count_nonzero(gradients[own]) == torch.count_nonzero(gradient[region]), own
    assert set(gradients) == seen  # inactive blocks get none
    return twin


def assert_prefixes(net):
    """The weights of a smaller network are the first ones of every larger network's."""
    wide = {name: net.static(name).state_dict() for name in net.subnets}
    for small in net.subnets:
        for large in net.subnets:
            (w, b), (v, c) = net.space.member(small), net.space.member(large)
            if w > v or any(i > j for i, j in zip(b or (), c or ())):
                continue
            for key, value in wide[small].items():
                if value.ndim == 0 or "running" in key:
                    continue
                assert torch.equal(wide[large][key][tuple(slice(0, size) for size in value.shape)], value), key


def train_all(net, x):
    """A training pass of every network, so that all that track statistics have some."""
    for name in net.subnets:
        with net.subnet(name), torch.no_grad():
            net(x)
