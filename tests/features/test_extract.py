from __future__ import annotations

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from mmssl_dynamic.calibration.bn_bank import BNBank
from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError, SubnetError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.extract import write_features
from mmssl_dynamic.models import SDRResNet

NORMALISATION = Normalisation((120.0, 110.0, 100.0), (60.0, 60.0, 60.0), to_rgb=True)


def dataset_of(folder, size=32, **arguments):
    pipeline = [
        {"type": "mmssl_dynamic.LoadImage"},
        {"type": "CenterCrop", "crop_size": size},
        {"type": "PackInputs"},
    ]
    return build_dataset(
        {"type": "mmssl_dynamic.ImageFolder", "data_root": str(folder), "pipeline": pipeline, **arguments}
    )


def plain_backbone(seed=0):
    from mmpretrain.models import ResNet

    torch.manual_seed(seed)
    net = ResNet(18, stem_channels=8, base_channels=8, norm_cfg={"type": "BN"})
    net.eval()
    return net


def super_network(seed=0):
    torch.manual_seed(seed)
    return SDRResNet(18, stage_channels=(8, 8, 12, 16), stage_groups=(1, 1, 2, 2), stem_channels=8).eval()


class Interrupting:
    """A data set of which reading image ``at`` fails."""

    def __init__(self, dataset, at):
        self.dataset, self.at, self.pipeline, self.read = dataset, at, dataset.pipeline, []
        self.get_data_info, self.metainfo = dataset.get_data_info, dataset.metainfo

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        if index == self.at:
            raise RuntimeError("the power failed")
        self.read.append(index)
        return self.dataset[index]


def extract(backbone, dataset, out, **arguments):
    execution = Execution(batch_size=4, progress=False, again=arguments.pop("again", False))
    options = {"execution": execution, "flush_seconds": 0, **arguments}
    return write_features(backbone, dataset, NORMALISATION, out, **options)


@pytest.mark.parametrize("make", [plain_backbone, super_network])
def test_rows_are_the_averages_of_the_last_feature_map_of_every_image(make, image_folder, tmp_path):
    backbone = make()
    features = extract(backbone, dataset_of(image_folder), tmp_path / "F.npy")
    assert features.names[:2] == ["ant/0.png", "ant/1.png"]
    assert features.labels.tolist() == [0] * 7 + [1] * 7 + [2] * 7
    assert features.classes == ["ant", "bee", "cat"]
    assert features.image_root == str(image_folder)
    pixels = np.array(Image.open(image_folder / features.names[9]))[4:36, 8:40]
    pixels = torch.from_numpy(pixels).permute(2, 0, 1).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (NORMALISATION.mean, NORMALISATION.std))
    with torch.no_grad():
        expected = backbone(((pixels - mean) / std)[None])[-1].mean(dim=(2, 3))[0]
    np.testing.assert_allclose(features.rows[9], expected, rtol=1e-4, atol=1e-6)


def test_an_interrupted_run_resumes_where_it_stopped_with_the_same_result(image_folder, tmp_path):
    backbone, dataset = plain_backbone(), dataset_of(image_folder)
    whole = extract(backbone, dataset, tmp_path / "whole.npy")
    with pytest.raises(RuntimeError, match="the power failed"):
        extract(backbone, Interrupting(dataset, at=13), tmp_path / "F.npy")
    second = Interrupting(dataset, at=None)
    resumed = extract(backbone, second, tmp_path / "F.npy")
    assert second.read == list(range(12, 21))
    np.testing.assert_array_equal(resumed.rows, whole.rows)
    assert (resumed.names, resumed.labels.tolist()) == (whole.names, whole.labels.tolist())
    third = Interrupting(dataset, at=0)
    extract(backbone, third, tmp_path / "F.npy")  # complete: nothing is read
    assert third.read == []


KILLED_RUN = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
import test_extract as t
class Killing(t.Interrupting):
    def __getitem__(self, index):
        if index == 13:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.dataset[index]
t.extract(t.plain_backbone(), Killing(t.dataset_of({folder!r}), None), {out!r})
"""


def test_a_run_killed_by_the_system_resumes_with_the_same_result(image_folder, tmp_path, request):
    script = KILLED_RUN.format(tests=str(request.path.parent), folder=str(image_folder), out=str(tmp_path / "F.npy"))
    killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "F.npy").exists()
    assert (tmp_path / "F.npy.partial").exists()
    dataset = Interrupting(dataset_of(image_folder), at=None)
    resumed = extract(plain_backbone(), dataset, tmp_path / "F.npy")
    assert dataset.read == list(range(12, 21))
    whole = extract(plain_backbone(), dataset_of(image_folder), tmp_path / "whole.npy")
    np.testing.assert_array_equal(resumed.rows, whole.rows)


def test_an_interrupted_run_is_not_resumed_with_anything_else(image_folder, tmp_path):
    backbone, dataset = plain_backbone(), dataset_of(image_folder)
    with pytest.raises(RuntimeError, match="the power failed"):
        extract(backbone, Interrupting(dataset, at=13), tmp_path / "F.npy")
    with pytest.raises(ArtifactError, match="a different weights;"):
        extract(plain_backbone(seed=1), dataset, tmp_path / "F.npy")
    with pytest.raises(ArtifactError, match="a different pipeline;"):
        extract(backbone, dataset_of(image_folder, size=40), tmp_path / "F.npy")
    backbone.layer1[0].bn1.running_mean += 1
    with pytest.raises(ArtifactError, match="a different BN statistics;"):
        extract(backbone, dataset, tmp_path / "F.npy")
    shutil.copytree(image_folder, tmp_path / "more")
    shutil.copy(image_folder / "ant" / "0.png", tmp_path / "more" / "ant" / "9.png")
    with pytest.raises(ArtifactError, match="a different images;"):
        extract(plain_backbone(), dataset_of(tmp_path / "more"), tmp_path / "F.npy")
    restarted = extract(plain_backbone(1), dataset, tmp_path / "F.npy", again=True)
    np.testing.assert_array_equal(restarted.rows, extract(plain_backbone(1), dataset, tmp_path / "other.npy").rows)


def test_a_sub_network_needs_its_statistics_and_gives_its_own_features(image_folder, tmp_path):
    net, dataset = super_network(), dataset_of(image_folder)
    with pytest.raises(MissingStatisticsError):
        extract(net, dataset, tmp_path / "F.npy", subnet="0-0-1-0")
    bank = BNBank.of(net)
    with net.subnet("0-0-1-0"):
        sizes = {name: layer.channels.size for name, layer in net.batch_norms(net.active).items()}
    bank.path["0-0-1-0"] = {name: (torch.zeros(size), torch.ones(size)) for name, size in sizes.items()}
    bank.save(tmp_path / "bank.safetensors")
    BNBank.load(tmp_path / "bank.safetensors").apply(net, ["0-0-1-0"])
    features = extract(net, dataset, tmp_path / "F.npy", subnet="0-0-1-0")
    twin = extract(net.static("0-0-1-0").eval(), dataset, tmp_path / "twin.npy")
    assert features.dim == 12
    np.testing.assert_allclose(features.rows, twin.rows, rtol=1e-4, atol=1e-5)


def test_a_plain_backbone_has_neither_sub_networks_nor_a_bank(image_folder, tmp_path):
    with pytest.raises(SubnetError, match="leave --subnet out"):
        extract(plain_backbone(), dataset_of(image_folder), tmp_path / "F.npy", subnet="0-0-0-0")


def test_a_limit_takes_images_evenly_spaced_over_the_data_set(image_folder, tmp_path):
    features = extract(plain_backbone(), dataset_of(image_folder), tmp_path / "F.npy", limit_images=3)
    assert features.names == ["ant/0.png", "bee/3.png", "cat/6.png"]
    assert features.labels.tolist() == [0, 1, 2]
    with pytest.raises(ConfigError, match="--limit-images 0"):
        extract(plain_backbone(), dataset_of(image_folder), tmp_path / "G.npy", limit_images=0)


def test_images_without_labels_have_none_in_the_sidecar(image_folder, tmp_path):
    features = extract(plain_backbone(), dataset_of(image_folder, with_label=False), tmp_path / "F.npy")
    assert features.labels is None
    assert features.classes is None


def test_weights_that_give_no_finite_features_are_refused_before_a_row_is_written(image_folder, tmp_path):
    backbone = plain_backbone()
    with torch.no_grad():
        backbone.layer4[1].bn2.weight[0] = float("nan")
    with pytest.raises(ArtifactError, match="features of 'ant/0.png' hold NaN"):
        extract(backbone, dataset_of(image_folder), tmp_path / "F.npy")
    assert list(tmp_path.iterdir()) == []


def test_a_model_in_training_mode_gives_the_features_of_evaluation_and_keeps_its_mode(image_folder, tmp_path):
    dataset, backbone = dataset_of(image_folder), super_network()
    expected = extract(backbone, dataset, tmp_path / "F.npy").rows
    backbone.train()
    np.testing.assert_array_equal(extract(backbone, dataset, tmp_path / "G.npy").rows, expected)
    assert backbone.training
