"""tools/extract_features.py and tools/cluster.py, run as a user runs them."""

from __future__ import annotations

import json
import runpy
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.features.feature_file import Features

CONFIG = """
default_scope = "mmpretrain"
model = dict(
    type="SimSiam",
    backbone=dict(type="ResNet", depth=18, stem_channels=8, base_channels=8, norm_cfg=dict(type="SyncBN")),
    data_preprocessor=dict(type="SelfSupDataPreprocessor", mean=(120, 110, 100), std=(60, 60, 60), to_rgb=True),
)
eval_pipeline = [
    dict(type="mmssl_dynamic.LoadImage"), dict(type="CenterCrop", crop_size=32), dict(type="PackInputs")
]
extract_dataloader = dict(
    batch_size=5, num_workers=0,
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root="{folder}", pipeline=eval_pipeline),
)
"""


@pytest.fixture
def run(repo_root, monkeypatch, capsys):
    """Run a tool in this process, which spares the seconds that importing takes; gives exit status and output."""

    def call(tool, *arguments):
        monkeypatch.setattr(sys, "argv", [tool, *map(str, arguments)])
        capsys.readouterr()
        status = 0
        try:
            runpy.run_path(str(repo_root / "tools" / tool), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        output = capsys.readouterr()
        return SimpleNamespace(returncode=status, stdout=output.out, stderr=output.err)

    return call


def test_from_a_checkpoint_to_clusters_with_report_and_pictures(run, image_folder, tmp_path):
    from mmpretrain.models import ResNet

    (tmp_path / "config.py").write_text(CONFIG.replace("{folder}", str(image_folder)))
    net = ResNet(18, stem_channels=8, base_channels=8, norm_cfg={"type": "BN"})
    state = {f"backbone.{name}": value for name, value in net.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "model.pth")

    done = run(
        "extract_features.py", tmp_path / "config.py", tmp_path / "model.pth", "--out", tmp_path / "F.npy",
        "--batch-size", 4, "--workers", 1, "--device", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "21 images x 64 features" in done.stdout
    assert "21/21" in done.stderr  # the progress bar
    features = Features.load(tmp_path / "F.npy")
    assert features.rows.shape == (21, 64)

    done = run(
        "cluster.py", tmp_path / "F.npy", "--num-clusters", 3, "--out", tmp_path / "out" / "clusters.npz",
        "--min-size", 5, "--device", "cpu", "--montage-samples", 3,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "21 images in 3 clusters (sinkhorn)" in done.stdout
    assert "NMI to the 3 classes" in done.stdout
    assert "loss=" in done.stderr
    clusters = Clusters.load(tmp_path / "out" / "clusters.npz")
    assert clusters.sizes.min() >= 5
    assert clusters.align(features.names).tolist() == clusters.assignment.tolist()
    figures = json.loads((tmp_path / "out" / "clusters.json").read_text())
    assert figures["report"]["sizes"] == clusters.sizes.tolist()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "clusters.json",
        "clusters.npz",
        "clusters_montage.png",
        "clusters_sizes.png",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-clusters", 1000], "--num-clusters 1000 is more than the 600 images"),
        (["--num-clusters", 6, "--epsilon", 0.2], "epsilon=0.2"),
        (["--num-clusters", 6, "--image-root", "nowhere"], "--image-root nowhere holds no image"),
        (["--num-clusters", 6, "--out", "clusters.pkl"], "must end in .npz"),
    ],
)
def test_a_wrong_option_is_one_sentence_and_writes_nothing(run, features, tmp_path, arguments, message):
    features.save(tmp_path / "F.npy")
    if "--out" not in arguments:
        arguments = [*arguments, "--out", tmp_path / "clusters.npz"]
    done = run("cluster.py", tmp_path / "F.npy", *arguments)
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["F.json", "F.npy"]


def test_random_clusters_need_no_values_of_the_features(run, features, tmp_path):
    features.rows[0] = np.nan
    features.save(tmp_path / "F.npy")
    done = run(
        "cluster.py", tmp_path / "F.npy", "--num-clusters", 7, "--method", "random", "--no-montage",
        "--out", tmp_path / "clusters.npz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(Clusters.load(tmp_path / "clusters.npz").sizes.tolist()) == [85, 85, 86, 86, 86, 86, 86]


def test_a_hierarchy_numbers_the_same_clusters_anew_and_says_how_similar_neighbours_are(run, features, tmp_path):
    features.save(tmp_path / "F.npy")
    common = ("cluster.py", tmp_path / "F.npy", "--num-clusters", 4, "--no-montage", "--device", "cpu", "--out")
    plain = run(*common, tmp_path / "plain.npz")
    ordered = run(*common, tmp_path / "ordered.npz", "--hierarchy", 1, 2, 2)
    assert plain.returncode == ordered.returncode == 0, ordered.stderr
    assert "by hierarchy" in ordered.stdout
    assert "by hierarchy" not in plain.stdout
    one, other = (Clusters.load(tmp_path / f"{name}.npz") for name in ("plain", "ordered"))
    order = json.loads((tmp_path / "ordered.json").read_text())["hierarchy"]["order"]
    assert sorted(order) == [0, 1, 2, 3]
    np.testing.assert_array_equal(np.asarray(order)[other.assignment], one.assignment)
    refused = run(*common, tmp_path / "wrong.npz", "--hierarchy", 2, 4)
    assert refused.returncode == 2
    assert "--hierarchy 2 4 makes 8 paths but there are 4 clusters" in refused.stderr
    assert not (tmp_path / "wrong.npz").exists()


def test_auto_takes_as_many_clusters_as_the_images_are_good_for_and_says_why(run, features, tmp_path):
    features.save(tmp_path / "F.npy")
    common = ("cluster.py", tmp_path / "F.npy", "--no-montage", "--device", "cpu", "--out", tmp_path / "c.npz")
    done = run(*common, "--num-clusters", "auto", "--images-per-cluster", 100, "--assign", "balanced")
    assert done.returncode == 0, done.stderr
    assert "4 paths suit 600 images: 150 each, at least 100; 16 would have 37" in done.stdout
    clusters = Clusters.load(tmp_path / "c.npz")
    assert clusters.num_clusters == 4
    assert clusters.sizes.min() > 0.8 * 150
    assert clusters.meta["assignment"] == "balanced"
    assert "16 have 37 each, too few" in run(*common, "--num-clusters", 16, "--images-per-cluster", 100).stdout
    refused = run(*common, "--num-clusters", "auto")
    assert refused.returncode == 2
    assert "600 images are few for several paths: 4 would have 150 each" in refused.stderr
