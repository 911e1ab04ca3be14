"""No training of the package feeds BatchNorm batches in the order of a folder, in which a batch holds few classes."""

from pathlib import Path

import pytest

from mmssl_dynamic.loading import load_config

SHUFFLING = ("mmssl_dynamic.SubnetBatchSampler", "mmssl_dynamic.ResumableBatchSampler")  # tested where they are
CONFIGS = sorted(p for p in (Path(__file__).parents[2] / "configs").rglob("*.py") if "_base_" not in p.parts)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_training_batches_are_shuffled(path):
    loader = load_config(path).train_dataloader
    batches = loader.get("batch_sampler") or {}
    assert loader.sampler.shuffle is True
    assert batches.get("type") in (None, "AspectRatioBatchSampler", *SHUFFLING)
