"""How the configs feed their trainings."""

from pathlib import Path

import pytest

from mmssl_dynamic.loading import load_config

RESUMABLE = ("mmssl_dynamic.SubnetBatchSampler", "mmssl_dynamic.ResumableBatchSampler")  # tested where they are
CONFIGS = sorted(p for p in (Path(__file__).parents[2] / "configs").rglob("*.py") if "_base_" not in p.parts)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_batches_are_shuffled_and_those_of_our_own_data_sets_resume(path):
    """BatchNorm needs shuffled batches: in the order of a folder a batch holds few classes."""
    loader = load_config(path).train_dataloader
    kind = (loader.get("batch_sampler") or {}).get("type")
    assert loader.sampler.shuffle is True
    assert kind in ((None, "AspectRatioBatchSampler") if "detection" in path.parts else RESUMABLE)
