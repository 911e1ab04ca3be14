"""A task in tar files gives the rankings and accuracies of the folder that they were made of."""

import json
import sys

import pytest

import mmssl_dynamic.apis.evaluate
import mmssl_dynamic.apis.route
import mmssl_dynamic.apis.transfer  # noqa: F401
from mmssl_dynamic.datasets.image_folder import ImageFolder
from mmssl_dynamic.datasets.shards import write_shards
from mmssl_dynamic.downstream.label_subsets import write_labels
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.routing import RoutingResult
from tests.tools.running import tool

QUICK = ("--workers", 0, "--batch-size", 8, "--no-progress", "--subnets", "0-0-0-1,0-0-1-0")


@pytest.fixture(scope="module")
def ends(work, bank, repo_root, tmp_path_factory):
    """What the verbs wrote for the folder, and for its shards."""
    packed = tmp_path_factory.mktemp("packed")
    for part in ("train", "test"):
        assert sum(write_shards(work / "pets" / part, packed / "pets" / part)) > 0
    run = (work / "config.py", work / "epoch_1.pth", "--bank", bank)

    def write(root):
        out = tmp_path_factory.mktemp("out")
        tool(repo_root, "route", *run, "--data-root", root / "pets", "--k", 5, "--out", out / "route", *QUICK)
        knn = ("--data-root", root / "pets", "--k", 5, "--latency-repeats", 0)
        tool(repo_root, "evaluate", *run, *knn, "--out", out / "evaluate", *QUICK)
        search = ("--data-root", root, "--datasets", "pets", "--image-size", 32, "--patience", 3)
        tool(repo_root, "transfer", *run, *search, "--out", out / "transfer", *QUICK)
        return out

    with pytest.MonkeyPatch.context() as patch:
        for verb in ("route", "evaluate", "transfer"):
            patch.setattr(sys.modules[f"mmssl_dynamic.apis.{verb}"], "save_figure", lambda *_: None)
        patch.setattr(sys.modules["mmssl_dynamic.apis.route"], "write_routing_report", lambda *_: None)
        one = write(work)
        patch.setattr(ImageFolder, "load_data_list", lambda _: pytest.fail("listed files"))
        return one, write(packed)


def test_a_part_of_the_labels_needs_files(work, tmp_path):
    for part in ("train", "test"):
        assert sum(write_shards(work / "pets" / part, tmp_path / "pets" / part)) > 0
    task = Task.from_folder(tmp_path / "pets", [dict(type="PackInputs")])
    with pytest.raises(DataError, match="semi-supervised evaluation needs images in files; give an image folder"):
        write_labels(task, [0, 3], tmp_path / "labels.txt")
    assert not (tmp_path / "labels.txt").exists()


def test_the_ranking_is_the_same(ends):
    one, two = (RoutingResult.load(out / "route/routing.json") for out in ends)
    assert (one.subnets, one.full) == (two.subnets, two.full)


@pytest.mark.parametrize("verb", ["evaluate", "transfer"])
def test_accuracies_and_fingerprints_of_the_images_are_the_same(ends, verb):
    one, two = (json.loads((out / verb / "results.json").read_text()) for out in ends)
    assert one["data"] == two["data"]
    for result in (one, two):
        for entry in result.get("scores") or result["networks"]:
            entry.pop("seconds")
    assert one.get("scores") == two.get("scores")
    assert one["networks"] == two["networks"]
