"""Parts of a task are drawn in proportion, nested, and without reading what is left out."""

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.downstream import Splits
from mmssl_dynamic.downstream.splits import balanced_order, count_images, labels_of, take
from mmssl_dynamic.downstream.task import Task

PIPELINE = [dict(type="mmssl_dynamic.LoadImage"), dict(type="PackInputs")]


def test_every_beginning_holds_the_classes_in_proportion():
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    order = balanced_order(labels, 100, seed=3)
    assert sorted(order) == list(range(100))
    for count in (10, 20, 50):
        counts = np.bincount(labels[order[:count]], minlength=3)
        assert np.abs(counts - count * np.array([0.6, 0.3, 0.1])).max() <= 1
    assert order != balanced_order(labels, 100, seed=4)
    assert sorted(balanced_order(None, 7, 0)) == list(range(7))


def test_a_part_of_batches_keeps_images_and_labels_together():
    batches = [
        SimpleNamespace(images=torch.arange(i, i + 4.0).view(4, 1, 1, 1), labels=torch.arange(i, i + 4)) for i in (0, 4)
    ]
    part = take(batches, [6, 1, 3])
    assert count_images(part) == 3
    assert [batch.images.flatten().tolist() for batch in part] == [[1, 3], [6]]
    assert labels_of(part).tolist() == [1, 3, 6]
    assert labels_of([SimpleNamespace(images=torch.zeros(2, 1, 1, 1), labels=None)]) is None


def test_a_larger_share_holds_the_smaller_one_and_no_test_images():
    batches = [SimpleNamespace(images=torch.arange(40.0).view(40, 1, 1, 1), labels=torch.arange(40) % 4)]
    splits = Splits(batches, batches, batches)
    small, large = (splits.for_selection(share, 2, seed=1) for share in (0.1, 0.5))
    seen = [{int(x) for batch in part.train for x in batch.images} for part in (small, large)]
    assert (len(seen[0]), len(seen[1])) == (4, 20)
    assert seen[0] < seen[1]
    assert small.test is None
    assert count_images(small.val) == 4
    assert count_images(splits.for_selection(0.01, 8).train) == 8
    assert count_images(splits.for_selection(0.9, 80).train) == 40


def test_images_that_are_left_out_are_not_read(tmp_path):
    for part in ("train", "test"):
        for label in range(2):
            folder = tmp_path / part / f"class{label}"
            folder.mkdir(parents=True)
            for i in range(3):
                Image.new("RGB", (4, 4), (50 * label + 10 * i,) * 3).save(folder / f"{i}.png")
    batches = Task.from_folder(tmp_path, PIPELINE).splits(Normalisation((0.0,) * 3, (1.0,) * 3, to_rgb=False), 2).train
    assert labels_of(batches).tolist() == [0, 0, 0, 1, 1, 1]
    (tmp_path / "train" / "class0" / "1.png").unlink()
    part = take(take(batches, [0, 2, 5]), [2, 1])  # a part of a part: positions 2 and 5
    assert labels_of(part).tolist() == [0, 1]
    assert [int(x.images[i].max()) for x in part for i in range(len(x.images))] == [20, 70]
