"""Shared prefixes: bitwise the same features for a third of the work, in bounded memory."""

from types import SimpleNamespace

import pytest
import torch

from mmssl_dynamic.calibration import BNBank, calibrate_path, calibrate_prefixes
from mmssl_dynamic.errors import ConfigError, DataError, MissingStatisticsError, SubnetError
from mmssl_dynamic.features import pooled_features
from mmssl_dynamic.models import SDRResNet, SDRSlimmableResNet
from mmssl_dynamic.routing.prefix_tree import PathFeatures, stage_runs

GROUPS = (2, 1, 2, 2)


def batches(count=11, size=10, labels=True):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 32, 32, generator=generator)
    classes = torch.arange(count) % 3
    parts = zip(images.split(size), classes.split(size))
    return [SimpleNamespace(images=x, labels=y if labels else None) for x, y in parts]


def with_statistics(net):
    """The network with statistics of noise for all prefixes."""
    bank = BNBank.of(net)
    generator = torch.Generator().manual_seed(2)
    draw = lambda *_: [torch.randn(6, 3, 32, 32, generator=generator)]  # noqa: E731
    bank.path["full"] = calibrate_path(net, "full", draw())
    bank.prefix = calibrate_prefixes(net, draw)
    bank.apply(net, bn="prefix")
    return net


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = SDRResNet(18, stage_channels=(8, 8, 12, 16), stage_groups=GROUPS, stem_channels=5)
    return with_statistics(net)


def test_256_paths_need_340_stage_runs_and_not_1024():
    net = SDRResNet(18)
    assert stage_runs(net, net.space.paths, share=True) == 4 + 16 + 64 + 256
    assert stage_runs(net, net.space.paths, share=False) == 1024
    assert stage_runs(net, net.subnets, share=True) == 344  # 'full' shares nothing
    assert stage_runs(net, ["0-0-0-0", "0-0-0-1", "0-0-1-0"], share=True) == 1 + 1 + 2 + 3


def test_shared_features_are_bitwise_those_of_every_sub_network_alone(net):
    data = batches(size=4)
    shared, labels = PathFeatures(net, net.subnets, share=True)(data)
    alone, _ = PathFeatures(net, net.subnets, share=False)(data)
    assert shared.keys() == alone.keys() == set(net.subnets)
    assert labels.tolist() == [i % 3 for i in range(11)]
    for name in net.subnets:
        assert torch.equal(shared[name], alone[name])
        assert torch.equal(shared[name], pooled_features(net, data, name)[0])
    assert len({tuple(shared[name][0].tolist()) for name in net.subnets}) == len(net.subnets)


def test_stage_runs_that_happen_are_those_that_are_counted(net):
    data = batches()
    for share in (True, False):
        seen = []
        compute = PathFeatures(net, net.subnets, share=share, on_stage=seen.append)
        compute(data)
        assert compute.runs == sum(seen) == 11 * stage_runs(net, net.subnets, share)
        assert compute.image_size == (32, 32)


def test_features_do_not_depend_on_memory_and_memory_bounds_what_is_held(net, monkeypatch):
    data = batches(count=12, size=2)
    plenty, _ = PathFeatures(net, net.space.paths, memory_gib=1.0)(data)
    compute = PathFeatures(net, net.space.paths)
    per_image = compute._bytes_per_image(data[0].images[:1])
    # Stem at 8 x 8 and stages 0, 1, 2 at 8, 4 and 2 pixels, in float32.
    assert per_image == 4 * (max(5 * 64, 3 * 32 * 32) + 6 * 64 + 8 * 16 + 9 * 4)

    compute = PathFeatures(net, net.space.paths, memory_gib=5 * per_image / 2**30)  # two batches fit, three do not
    chunks = [sum(len(b.images) for b in chunk) for chunk in compute._chunks(data)]
    assert chunks == [4, 4, 4]
    bounded, _ = compute(data)
    tiny = PathFeatures(net, net.space.paths, memory_gib=1e-9)
    assert [len(chunk) for chunk in tiny._chunks(data)] == [1] * 6
    least, _ = tiny(data)
    for name in net.space.paths:
        assert torch.equal(plenty[name], bounded[name])
        assert torch.equal(plenty[name], least[name])


def test_weights_are_gathered_once_per_sub_network_and_not_per_batch(net, monkeypatch):
    from mmssl_dynamic.models.elastic import layers

    counts = []
    for data in (batches(count=12, size=12), batches(count=12, size=2)):
        calls = []
        with monkeypatch.context() as patch:
            gather = layers.gather
            patch.setattr(layers, "gather", lambda *a, calls=calls, gather=gather: calls.append(1) or gather(*a))
            PathFeatures(net, net.space.paths)(data)
        counts.append(len(calls))
    assert counts[0] == counts[1] > 0


def test_the_model_keeps_its_mode_and_no_sub_network_stays_active(net):
    net.train()
    PathFeatures(net, net.subnets)(batches())
    assert all(part.training for part in net.modules())
    assert net.active == "full"
    net.eval()


def test_images_without_labels_have_features(net):
    features, labels = PathFeatures(net, ["0-0-1-1"])(batches(labels=False))
    assert labels is None
    assert features["0-0-1-1"].shape == (11, 12)


def test_bad_input_is_refused(net):
    with pytest.raises(SubnetError):
        PathFeatures(net, ["0-0-0-0", "4-4-4-4"])
    with pytest.raises(ConfigError, match="memory_gib"):
        PathFeatures(net, ["0-0-0-0"], memory_gib=0)
    with pytest.raises(DataError, match="no images"):
        PathFeatures(net, ["0-0-0-0"])([])
    torch.manual_seed(0)
    fresh = SDRResNet(18, stage_channels=(8, 8, 12, 16), stage_groups=GROUPS, stem_channels=5)
    with pytest.raises(MissingStatisticsError):
        PathFeatures(fresh, ["0-0-0-0"])(batches())


@pytest.fixture(scope="module")
def wide():
    """Paths of two widths, with statistics of their prefixes."""
    torch.manual_seed(0)
    net = SDRSlimmableResNet(18, (8, 8, 12, 16), (1, 1, 2, 2), stem_channels=8, widths=(0.5, 1.0))
    return with_statistics(net)


def test_a_width_has_a_tree_of_its_own():
    with torch.device("meta"):
        net = SDRSlimmableResNet(18)
    assert stage_runs(net, net.space.candidates, share=True) == 4 * (4 + 16 + 64 + 256)
    assert stage_runs(net, net.space.candidates, share=False) == 4 * 1024
    assert stage_runs(net, ["0-0-0-0@w0.5", "0-0-0-1@w0.5", "0-0-0-0"], share=True) == (3 + 2) + 4


@pytest.mark.parametrize("memory", [1.0, 1e-9], ids=["plenty", "little"])
def test_paths_of_a_width_share_their_features_bitwise(wide, memory):
    data = batches(size=4)
    compute = PathFeatures(wide, wide.subnets, share=True, memory_gib=memory)
    shared, _ = compute(data)
    alone, _ = PathFeatures(wide, wide.subnets, share=False)(data)
    assert shared.keys() == alone.keys() == set(wide.subnets)
    for name in wide.subnets:
        assert torch.equal(shared[name], alone[name]), name
        assert torch.equal(shared[name], pooled_features(wide, data, name)[0])
    assert shared["0-0-1-0@w0.5"].shape == (11, 6)
    assert compute.runs == 11 * stage_runs(wide, wide.subnets, True)


def test_a_name_with_the_whole_width_is_the_paths(wide):
    found, _ = PathFeatures(wide, ["0-0-1-0@w1.0", "0-0-1-0"])(batches())
    assert list(found) == ["0-0-1-0"]
