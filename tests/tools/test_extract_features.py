"""tools/extract_features.py: kept features are those of its arguments, or it says what differs and touches nothing."""

import os
import re
import shutil

import numpy as np
import pytest
import torch

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.datasets.batches import ImageBatches
from mmssl_dynamic.features import Features
from mmssl_dynamic.loading import build_backbone, load_config
from tests.helpers import randomise
from tests.tools.running import CONFIG, paint, tool

NAME = "0-0-1-0"


def save_networks(root, seed=0, scale=1.0):
    torch.manual_seed(seed)
    net = randomise(build_backbone(load_config(root / "config.py")))
    torch.save(net.state_dict(), root / "epoch_1.pth")
    bank = BNBank.of(net)
    bank.path = {key: net.bn_statistics(key) for key in net.space.keys}
    bank.path = {k: {n: (mean, scale * var) for n, (mean, var) in s.items()} for k, s in bank.path.items()}
    bank.save(root / "bank.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    paint(root / "unlabelled", 6, 120, 0)
    (root / "config.py").write_text(CONFIG.replace("{root}", str(root)))
    save_networks(root)
    return root


@pytest.fixture
def work(finished, repo_root, tmp_path, capsys):
    """A finished extraction in a folder of its own; the config names its images."""
    root = tmp_path / "work"
    shutil.copytree(finished, root)
    (root / "config.py").write_text(CONFIG.replace("{root}", str(root)))
    extract(repo_root, root)
    capsys.readouterr()
    return root


@pytest.fixture
def batches(monkeypatch):
    """Counts passes over images."""
    found = []
    original = ImageBatches.__iter__
    monkeypatch.setattr(ImageBatches, "__iter__", lambda self: found.append(self.num_images) or original(self))
    return found


def extract(repo_root, root, *arguments):
    files = (root / "config.py", root / "epoch_1.pth", "--bank", root / "bank.safetensors")
    tool(repo_root, "extract_features", *files, "--subnet", NAME, "--out", root / "F.npy", *arguments)
    return np.array(Features.load(root / "F.npy").rows)


def touched(root):
    """Another image under the same name, with the same size."""
    image = root / "unlabelled/03.png"
    stat = image.stat()
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def one_more(root):
    shutil.copy2(root / "unlabelled/03.png", root / "unlabelled/99.png")


CHANGES = {
    "weights": (lambda root: save_networks(root, seed=1), "weights"),
    "bank": (lambda root: save_networks(root, scale=4.0), "BN statistics"),
    "sub-network": (lambda root: ("--subnet", "0-0-1-1"), "sub-network"),
    "image": (touched, "images"),
    "more images": (one_more, "images"),
    "fewer images": (lambda root: ("--limit-images", 3), "images"),
    "image size": (
        lambda root: ("--cfg-options", "extract_dataloader.dataset.pipeline.1.crop_size=24"),
        "pipeline",
    ),
    "pipeline": (lambda root: ("--cfg-options", "extract_dataloader.dataset.pipeline.0.bits=12"), "pipeline"),
    "normalisation": (lambda root: ("--cfg-options", "model.data_preprocessor.std=[60.0,50.0,50.0]"), "normalisation"),
}


@pytest.mark.parametrize(("change", "name"), CHANGES.values(), ids=CHANGES)
def test_whatever_changes_is_named_and_again_makes_the_features_of_now(work, refused, repo_root, batches, change, name):
    before = (work / "F.npy").read_bytes(), (work / "F.json").read_bytes()
    arguments = change(work) or ()
    files = (work / "config.py", work / "epoch_1.pth", "--bank", work / "bank.safetensors")
    message = refused("extract_features", *files, "--subnet", NAME, "--out", work / "F.npy", *arguments)
    assert re.search(rf"made with a different .*{name}.*; give another --out, or --again", message)
    assert batches == []
    assert ((work / "F.npy").read_bytes(), (work / "F.json").read_bytes()) == before
    anew = extract(repo_root, work, *arguments, "--again")
    assert len(batches) == 1
    np.testing.assert_array_equal(anew, extract(repo_root, work, *arguments, "--again", "--batch-size", 64))


def test_without_a_change_features_are_kept_bit_by_bit_and_that_is_said(work, repo_root, batches, capsys):
    before = (work / "F.npy").read_bytes()
    extract(repo_root, work, "--batch-size", 3, "--workers", 1)
    assert batches == []
    assert (work / "F.npy").read_bytes() == before
    lines = [line for line in capsys.readouterr().out.splitlines() if "kept from" in line]
    assert len(lines) == 1
    assert "F.npy: all features are kept from 20" in lines[0]
    assert "its inputs are unchanged: sub-network, weights, BN statistics, architecture, images, pipeline, " in lines[0]


def test_the_data_may_move(work, repo_root, batches, tmp_path):
    (work).rename(tmp_path / "moved")
    root = tmp_path / "moved"
    (root / "config.py").write_text(CONFIG.replace("{root}", str(root)))
    extract(repo_root, root)
    assert batches == []


def test_damaged_features_are_made_anew_and_that_is_said(work, repo_root, batches):
    expected = np.array(Features.load(work / "F.npy").rows)
    (work / "F.json").write_text((work / "F.json").read_text()[:-50])
    with pytest.warns(UserWarning, match=r"F.json is damaged, so it is computed anew"):
        np.testing.assert_array_equal(extract(repo_root, work), expected)
    assert batches == [6]
