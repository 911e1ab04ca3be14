"""Finished runs in TensorBoard."""

import json

import pytest

from mmssl_dynamic.errors import ArtifactError, ConfigError, LockedError
from mmssl_dynamic.locks import locked_folder
from mmssl_dynamic.visualization.log_scalars import log_results
from tests.visualization.test_tensorboard import evaluation, routing, shown, transfer

pytest.importorskip("tensorboard")


@pytest.fixture
def runs(tmp_path):
    for folder, result, name in (
        ("a", routing(), "routing"),
        ("b/c", evaluation(), "results"),
        ("d", transfer(), "results"),
    ):
        (tmp_path / folder).mkdir(parents=True)
        result.save(tmp_path / folder / f"{name}.json")
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "results.json").write_text(json.dumps({"AP": 1}))  # of a detector
    return tmp_path


def test_every_result_in_a_folder_is_written_beside_it(runs):
    assert log_results([runs]) == [runs / f / "tensorboard" for f in ("a", "b/c", "d")]
    tags = [set(shown(runs / f / "tensorboard" / "vis_data")) for f in ("a", "b/c", "d")]
    assert ["ranked/test" in tags[0], "knn/top1" in tags[1], "transfer/mean" in tags[2]] == [True] * 3
    assert not (runs / "e" / "tensorboard").exists()


def test_files_can_be_named_and_foreign_ones_are_refused(runs):
    assert log_results([runs / "d" / "results.json"]) == [runs / "d" / "tensorboard"]
    written = sorted((runs / "d/tensorboard").rglob("events*"))
    words = "the folder .*tensorboard is being written by .* or give another result"
    with locked_folder(runs / "d/tensorboard"), pytest.raises(LockedError, match=words):
        log_results([runs / "d" / "results.json"])
    assert sorted((runs / "d/tensorboard").rglob("events*")) == written != []
    with pytest.raises(ArtifactError, match=r"e/results\.json is no result of tools/route\.py"):
        log_results([runs / "a", runs / "e" / "results.json"])
    with pytest.raises(ConfigError, match=r"there is no routing\.json or results\.json"):
        log_results([runs / "e"])
    with pytest.raises(ArtifactError, match="does not exist"):
        log_results([runs / "nowhere.json"])
    assert not (runs / "a" / "tensorboard").exists()
