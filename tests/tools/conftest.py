import numpy as np
import pytest
import torch

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.loading import build_backbone, load_config
from tests.tools.running import CONFIG, paint, tool


@pytest.fixture(scope="package")
def work(tmp_path_factory):
    """Config, checkpoint, clusters, bank and a task with two classes."""
    root = tmp_path_factory.mktemp("work")
    paint(root / "unlabelled", 24, 120, 0)
    for part, count in (("train", 10), ("test", 5)):
        for index, label in enumerate(("cat", "dog")):
            paint(root / "pets" / part / label, count, 110 + 25 * index, index + len(part))
    (root / "config.py").write_text(CONFIG.replace("{root}", str(root)))
    torch.manual_seed(0)
    config = load_config(root / "config.py")
    net = build_backbone(config)
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in net.state_dict().items()}}, root / "epoch_1.pth")
    names = [f"{i:02d}.png" for i in range(24)]
    Clusters(names, np.arange(24) % 4, 4, "random").save(root / "clusters.npz")
    return root


@pytest.fixture(scope="package")
def bank(work, repo_root):
    """Its BN bank, beside the checkpoint."""
    tool(repo_root, "calibrate_bn", work / "config.py", work / "epoch_1.pth", "--workers", 0, "--images", 6)
    return work / "bn_bank.safetensors"


@pytest.fixture
def refused(repo_root, capsys):
    """Runs a tool that must fail with one sentence and status 2; returns the sentence."""

    def run(name, *arguments):
        with pytest.raises(SystemExit) as stop:
            tool(repo_root, name, *arguments)
        assert stop.value.code == 2
        lines = capsys.readouterr().err.strip().splitlines()
        message = [line for line in lines if line.startswith("error: ")]
        assert len(message) == 1
        assert lines[-1] == message[0]
        return message[0]

    return run
