"""A small super-network, its bank and a task that is neither trivial nor hopeless, for the tests of routing."""

from types import SimpleNamespace

import torch

from mmssl_dynamic.calibration import BNBank, calibrate_path, calibrate_prefixes
from mmssl_dynamic.evaluation import KNNProtocol
from mmssl_dynamic.models import SDRResNet

PROTOCOL = KNNProtocol(k=5)


def super_network(seed=0):
    torch.manual_seed(seed)
    return SDRResNet(18, stage_channels=(8, 8, 12, 16), stage_groups=(1, 1, 2, 4), stem_channels=5)


def split(count, seed, size=8, classes=3):
    """Classes that differ in their mean a little, so that accuracies are neither chance nor perfect."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=generator)
    images = torch.randn(count, 3, 32, 32, generator=generator)
    images += 0.25 * torch.randn(classes, 3, 1, 1, generator=torch.Generator().manual_seed(9))[labels]
    return [SimpleNamespace(images=x, labels=y) for x, y in zip(images.split(size), labels.split(size))]


def calibrated(net):
    """The bank of a network, of random images."""
    bank = BNBank.of(net)
    generator = torch.Generator().manual_seed(2)
    draw = lambda *_: [torch.randn(8, 3, 32, 32, generator=generator)]  # noqa: E731
    bank.path = {name: calibrate_path(net, name, draw()) for name in net.subnets}
    bank.prefix = calibrate_prefixes(net, draw)
    return bank
