"""BatchNorm statistics are pooled exactly, stage by stage, and calibration changes nothing else."""

import copy

import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

from mmssl_dynamic.calibration import (
    CalibrationImages,
    calibrate_bank,
    calibrate_path,
    calibrate_prefixes,
    pooled_statistics,
)
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError, SubnetError
from mmssl_dynamic.models import SDRResNet, SDRSlimmableResNet
from tests.calibration.bn_reference import assert_close, cumulative, images


def super_network(groups=(1, 1, 2, 2), seed=0):
    torch.manual_seed(seed)
    return SDRResNet(18, stage_channels=(8, 8, 12, 12), stage_groups=groups, stem_channels=5)


def test_first_batch_norm_of_a_sub_network_has_the_statistics_of_one_giant_batch():
    net = super_network()
    batch = images(23)
    for name in ("0-0-1-0", "full"):
        expected = cumulative(net.static(name), batch)
        assert_close(calibrate_path(net, name, [batch]), expected)
        pooled = calibrate_path(net, name, batch.split(8))
        assert_close({"bn1": pooled["bn1"]}, {"bn1": expected["bn1"]})
        assert pooled.keys() == expected.keys()


def test_a_last_batch_of_one_image_is_joined_with_its_predecessor():
    net = super_network()
    batch = images(17)  # at 16 pixels the last stage has one value per image and channel
    pooled = calibrate_path(net, "0-0-0-0", batch.split(8))
    assert_close(pooled, calibrate_path(net, "0-0-0-0", [batch[:8], batch[8:]]))
    with pytest.raises(DataError, match="at least two"):
        calibrate_path(net, "0-0-0-0", [batch[:1]])
    with pytest.raises(DataError, match="there are none"):
        calibrate_path(net, "0-0-0-0", [])


def test_calibrating_a_sub_network_does_not_touch_the_super_network():
    net = super_network().train()
    before = copy.deepcopy(net.state_dict())
    calibrate_path(net, "0-0-1-1", images(6).split(3))
    calibrate_prefixes(net, lambda prefix: images(6).split(3))
    assert all(part.training for part in net.modules())
    assert all(torch.equal(net.state_dict()[k], before[k]) for k in before)
    assert not net.has_bn_statistics("0-0-1-1")


def test_prefix_statistics_are_those_of_a_stage_behind_the_prefixes_above_it():
    net = super_network(groups=(2, 1, 2, 2))
    data = {}

    def batches_of(prefix):
        data[prefix] = images(9, seed=len(data)).split(4)
        return data[prefix]

    found = calibrate_prefixes(net, batches_of)
    assert list(found) == [
        "stem",
        "0",
        "1",
        "0-0",
        "1-0",
        *(f"{a}-0-{b}" for a in "01" for b in "01"),
        *net.space.paths,
    ]
    assert list(found["stem"]) == ["bn1"]

    # By hand: stem, then stage 0 of group 1, each frozen before the next one is measured.
    twin = net.static("1-0-0-0").eval()
    twin.bn1.running_mean, twin.bn1.running_var = cumulative(
        nn.Sequential(twin.conv1, twin.bn1), torch.cat(data["stem"])
    )["1"]
    with torch.no_grad():
        stem = [twin.stem(batch) for batch in data["1"]]
    expected = pooled_statistics(twin.layer1, stem)
    assert_close(found["1"], {f"layer1.{name}": value for name, value in expected.items()})


def test_prefixes_of_some_paths_only():
    net = super_network()
    found = calibrate_prefixes(net, lambda prefix: [images(4)], ["0-0-1-0"])
    assert list(found) == ["stem", "0", "0-0", "0-0-1", "0-0-1-0"]
    with pytest.raises(SubnetError):
        calibrate_prefixes(net, lambda prefix: [images(4)], ["0-0-7-0"])


class FakeDataset:
    """Images in memory whose mean tells their cluster, in the form mmpretrain's data sets have after PackInputs."""

    def __init__(self, count=40, clusters=4):
        generator = torch.Generator().manual_seed(0)
        self.assignment = torch.arange(count) % clusters
        noise = torch.randint(0, 100, (count, 3, 16, 16), generator=generator)
        self.images = (noise + 35 * self.assignment.view(-1, 1, 1, 1)).to(torch.uint8)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"inputs": self.images[index], "data_samples": DataSample()}

    def get_data_info(self, index):
        return {"img_path": f"/data/{index}.png"}


NORMALISATION = Normalisation((127.0,) * 3, (50.0,) * 3, to_rgb=True)


@pytest.fixture
def split():
    dataset = FakeDataset()
    names = [f"{i}.png" for i in range(len(dataset))]
    return dataset, Clusters(names[::-1], dataset.assignment.flip(0).numpy(), 4, "random")


def images_of(dataset):
    return CalibrationImages((dataset,), NORMALISATION)


def normalised(dataset, indices):
    return (dataset.images[indices].float().flip(1) - 127) / 50


def test_every_sub_network_of_a_bank_is_calibrated_with_its_own_images(split):
    dataset, clusters = split
    net = super_network()
    bank = calibrate_bank(net, images_of(dataset), clusters, batch_size=40, progress=False)
    assert set(bank.path) == set(net.subnets)
    for i, name in enumerate(net.subnets):
        own = torch.arange(40) if name == "full" else (dataset.assignment == i).nonzero().squeeze(1)
        assert_close(bank.path[name], calibrate_path(net, name, [normalised(dataset, own)]))
        assert bank.meta["images"]["path"][name] == len(own)
    # Prefix '0-0-1' stands above paths 2 and 3.
    below = (dataset.assignment >= 2).nonzero().squeeze(1)
    again = calibrate_prefixes(
        net, lambda p: [normalised(dataset, below if p == "0-0-1" else torch.arange(40))], ["0-0-1-0"]
    )
    assert_close(bank.prefix["0-0-1"], again["0-0-1"])
    assert bank.prefix["stem"]["bn1"][0].equal(bank.path["full"]["bn1"][0])


def test_a_bank_samples_the_same_images_whatever_else_is_calibrated(split):
    dataset, clusters = split
    net = super_network()
    options = {"images": 6, "batch_size": 3, "progress": False}
    both = calibrate_bank(net, images_of(dataset), clusters, **options)
    path = calibrate_bank(net, images_of(dataset), clusters, bn=("path",), **options)
    assert not path.prefix
    for name in net.subnets:
        assert all(torch.equal(a[0], b[0]) for a, b in zip(both.path[name].values(), path.path[name].values()))
    prefix = calibrate_bank(net, images_of(dataset), clusters, bn=("prefix",), **options)
    assert list(prefix.path) == ["full"]
    assert torch.equal(prefix.prefix["0-0-1"]["layer3.0.bn1"][0], both.prefix["0-0-1"]["layer3.0.bn1"][0])
    other = calibrate_bank(net, images_of(dataset), clusters, bn=("path",), seed=1, **options)
    assert not torch.equal(other.path["full"]["bn1"][0], path.path["full"]["bn1"][0])


def test_without_clusters_every_sub_network_sees_all_images(split):
    dataset, _ = split
    net = super_network()
    bank = calibrate_bank(net, images_of(dataset), None, bn=("path",), batch_size=40, progress=False)
    assert torch.equal(bank.path["0-0-0-0"]["bn1"][0], bank.path["full"]["bn1"][0])


def test_clusters_that_do_not_fit_are_refused(split):
    dataset, clusters = split
    net = super_network()
    with pytest.raises(ArtifactError, match="8 paths"):
        calibrate_bank(super_network((1, 2, 2, 2)), images_of(dataset), clusters, progress=False)
    assignment = clusters.assignment.copy()
    assignment[assignment == 3] = 2
    lonely = Clusters(clusters.names, assignment, 4, "random")
    with pytest.raises(ArtifactError, match="0 images for the BatchNorm statistics of '0-0-1-1'"):
        calibrate_bank(net, images_of(dataset), lonely, progress=False)
    with pytest.raises(ConfigError, match="at least 2"):
        calibrate_bank(net, images_of(dataset), clusters, images=1, progress=False)
    with pytest.raises(ConfigError, match="must name"):
        calibrate_bank(net, images_of(dataset), clusters, bn=("own",), progress=False)


def test_a_mix_is_half_of_own_images_and_half_of_others(split, monkeypatch):
    dataset, clusters = split
    taken, batches = [], CalibrationImages.batches

    def watched(data, indices, *args):
        taken.append(indices)
        return batches(data, indices, *args)

    monkeypatch.setattr(CalibrationImages, "batches", watched)
    net = super_network()
    options = {"images": 12, "batch_size": 6, "progress": False, "source": "mix", "bn": ("path",)}
    bank = calibrate_bank(net, images_of(dataset), clusters, **options)
    full, *paths = taken
    assert len(set(full)) == 12
    for cluster, sample in enumerate(paths):
        own = dataset.assignment[sample] == cluster
        assert len(set(sample)) == 12
        # Six of its own, and six of all others, of which a quarter or so are its own again.
        assert 6 <= int(own.sum()) <= 10
        assert 0 < int(own[:6].sum()) < 6  # in every batch, and not one after the other
    assert bank.meta["source"] == "mix"
    assert bank.meta["images"]["path"]["0-0-0-0"] == 12
    few = calibrate_bank(net, images_of(dataset), clusters, **{**options, "images": 100})
    assert few.meta["images"]["path"]["0-0-0-0"] == 20  # ten images of its own, and as many others


def test_all_images_can_calibrate_paths_that_have_clusters(split):
    dataset, clusters = split
    net = super_network()
    options = {"bn": ("path",), "batch_size": 40, "progress": False}
    found = calibrate_bank(net, images_of(dataset), clusters, source="all", **options)
    expected = calibrate_bank(net, images_of(dataset), None, **options)
    assert found.meta == expected.meta
    assert found.meta["source"] == "all"
    for name in net.subnets:
        assert_close(found.path[name], expected.path[name])
    for source, message in (("own", "must be one of cluster, all, mix"), ("mix", "the sub-networks have none")):
        with pytest.raises(ConfigError, match=message):
            calibrate_bank(net, images_of(dataset), None, source=source, **options)


def test_all_widths_of_a_path_are_calibrated_with_the_same_images_of_its_cluster(split):
    dataset, clusters = split
    torch.manual_seed(0)
    net = SDRSlimmableResNet(18, (8, 8, 12, 12), (1, 1, 2, 2), stem_channels=8, widths=(0.5, 1.0))
    bank = calibrate_bank(net, images_of(dataset), clusters, images=6, batch_size=6, progress=False)
    assert bank.path.keys() == set(net.subnets)
    sdr = SDRResNet(18, (8, 8, 12, 12), (1, 1, 2, 2), stem_channels=8)
    sdr.load_state_dict({key: value for key, value in net.state_dict().items() if key != "switches"})
    of_sdr = calibrate_bank(sdr, images_of(dataset), clusters, images=6, batch_size=6, progress=False)
    for name in sdr.subnets:  # whole paths: the same images, and so the same statistics
        assert_close(bank.path[name], of_sdr.path[name])
    for prefix, statistics in of_sdr.prefix.items():
        assert_close(bank.prefix[prefix], statistics)
    # narrower networks: of the same images, as the first layer tells, whose channels are the first of the path's
    for path in net.space.paths:
        narrow, whole = (bank.path[f"{path}{width}"]["bn1"] for width in ("@w0.5", ""))
        assert len(narrow[0]) == 4
        for one, other in zip(narrow, whole):
            torch.testing.assert_close(one, other[:4])
