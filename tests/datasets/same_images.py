"""A packed data set is the folder that it was made of: what the tests of every kind of packing ask for."""

import os
import re

import numpy as np
import torch
from mmengine.dataset import DefaultSampler

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets import ImageBatches, Normalisation, SubnetBatchSampler, SubnetDataset, build_dataset
from mmssl_dynamic.datasets.load_image import read_image
from mmssl_dynamic.datasets.named_images import NamedImages, holds
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.datasets.packed_folders import images_fingerprint, open_packed
from mmssl_dynamic.datasets.preparation import verify_images
from tests.helpers import write_images

NORMALISATION = Normalisation((120.0,) * 3, (60.0,) * 3, to_rgb=True)
PIPELINE = [dict(type="mmssl_dynamic.LoadImage"), dict(type="PackInputs")]


def config(root, **options):
    return dict(type="mmssl_dynamic.ImageFolder", data_root=str(root), pipeline=PIPELINE, **options)


def write_folder(root):
    """Images of some classes: a file that is none, a class that sorts otherwise with a slash, other letters."""
    write_images(root, 40)
    (root / "class_0/note.txt").write_text("no image")
    (root / "class_1-b").mkdir()
    (root / "class_1-b/0.png").write_bytes((root / "class_1/0001.png").read_bytes())
    (root / "class_1/ünïcode.png").write_bytes((root / "class_1/0001.png").read_bytes())
    return root


def assert_same_samples(one, two, workers):
    """Two data sets have the same names, classes, labels and pixels."""
    assert sample_names(one) == sample_names(two)
    assert (one.CLASSES, one.labelled) == (two.CLASSES, two.labelled)
    left, right = (list(ImageBatches(dataset, NORMALISATION, 8, workers)) for dataset in (one, two))
    assert len(left) == len(right)
    for a, b in zip(left, right):
        assert torch.equal(a.images, b.images)
        assert (a.labels is None and b.labels is None) or torch.equal(a.labels, b.labels)


def assert_same_draws(folder, packed, tmp_path):
    """Clusters of the folder draw the same images with the same seeds for the same sub-networks from both."""
    names = sample_names(build_dataset(config(folder)))
    file = tmp_path / "clusters.npz"
    order = np.random.default_rng(0).permutation(len(names))
    Clusters([names[i] for i in order], np.arange(len(names)) % 4, 4, "random").save(file)
    drawn = []
    for root in (folder, packed):
        dataset = SubnetDataset(config(root), (1, 1, 2, 2), str(file))
        sampler = SubnetBatchSampler(DefaultSampler(dataset, seed=3), batch_size=4)
        space = dataset.space
        sampler.set_phases([space.phase(p) for p in range(space.num_phases)], [4, 8, 12])
        drawn.append([[(draw.index, draw.subnet, draw.seed) for draw in batch] for batch in sampler])
    assert drawn[0] == drawn[1]
    assert len({subnet for batch in drawn[0] for _, subnet, _ in batch}) > 1


def assert_found_by_name(folder, packed):
    """Images are read by the names that clusters have, and a name that is not there is not taken for its neighbour."""
    one, two = NamedImages(folder), NamedImages(packed)
    assert list(two.names) == list(one.names)
    for name in (one.names[0], "class_1/ünïcode.png", one.names[-1]):
        if name in one:
            assert name in two
            np.testing.assert_array_equal(two.read(name), read_image(folder / name))
    for name in ("a.png", "class_0/0000.pn", "class_0/0000.png.png", "z.png"):
        assert name not in two
    assert holds(packed, one.names[0])
    assert not holds(packed.parent / "gone", one.names[0])


def assert_an_unreadable_image_is_named(pack, tmp_path, where):
    """The check of packed images tells member and file; and what is packed is told by its content alone.

    Args:
        pack: Packs a folder into another.
        tmp_path: Of the test.
        where: What holds the image ``class_1/0001.png``, as a regular expression, with ``{root}``.
    """
    write_images(tmp_path / "plain", 6)
    broken = tmp_path / "plain/class_1/0001.png"
    broken.write_bytes(broken.read_bytes()[:200])
    root = tmp_path / "packed_one"
    pack(tmp_path / "plain", root)
    report, plain = (
        verify_images(images, 3, progress=False)
        for images in (open_packed(root), sorted((tmp_path / "plain").rglob("*.png")))
    )
    ((name, problem),) = report.unreadable
    assert re.fullmatch(rf"class_1/0001\.png in {where.format(root=root)}", name)
    assert problem.startswith(f"image {name} cannot be used (")
    assert problem.endswith("; pack the data set anew without it (tools/check_images.py finds all such images).")
    assert (report.num_images, report.kinds) == (plain.num_images, plain.kinds) == (6, {"PNG RGB": 5})
    before = images_fingerprint(root)
    for file in root.rglob("*"):
        os.utime(file)
    (root / "README.txt").write_text("not an image")
    assert images_fingerprint(root) == before
    broken.write_bytes(broken.read_bytes()[:190])
    pack(tmp_path / "plain", tmp_path / "packed_two")
    assert images_fingerprint(tmp_path / "packed_two") != before
