"""The record of a data set's images changes with every image, and not with the place where they lie."""

import os
import shutil

import numpy as np
import pytest
from mmpretrain.datasets import BaseDataset

from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.datasets.fingerprint import images_record, pipeline_fingerprint
from mmssl_dynamic.errors import ConfigError
from tests.helpers import write_images

LOAD, PACK = dict(type="mmssl_dynamic.LoadImage"), dict(type="PackInputs")


def dataset(folder, *steps, **options):
    config = dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder), pipeline=[LOAD, *steps, PACK], **options)
    return build_dataset(config)


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path / "images", 8)


def older(path):
    os.utime(path, ns=(0, path.stat().st_mtime_ns - 1))


def swapped(path):
    data = path.read_bytes()
    other = path.with_name("0004.png")
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "copies_differ"),
    [
        (older, False),
        (swapped, True),
        (lambda path: path.rename(path.with_name("zzz.png")), True),
        (lambda path: path.rename(path.parents[1] / "class_1" / "zzz.png"), True),
        (lambda path: path.unlink(), True),
        (lambda path: shutil.copy2(path, path.with_name("more.png")), True),
        (lambda path: path.write_bytes(path.read_bytes() + b"\0"), True),
    ],
    ids=["time", "content", "name", "label", "gone", "more", "size"],
)
def test_any_change_of_any_image_changes_the_record(folder, change, copies_differ):
    before = images_record(dataset(folder))
    assert images_record(dataset(folder)) == before
    change(folder / "class_0" / "0000.png")
    after = images_record(dataset(folder))
    assert after.state != before.state
    assert (after.listing != before.listing) == copies_differ


def test_a_data_set_may_move_and_a_copy_has_the_same_listing(folder, tmp_path):
    before = images_record(dataset(folder))
    shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    copy = images_record(dataset(tmp_path / "copy"))
    assert copy.record() == before.record() == {"images": 8, "fingerprint": before.listing}
    assert copy.state != before.state
    folder.rename(tmp_path / "moved")
    assert images_record(dataset(tmp_path / "moved")) == before


def test_labels_of_a_list_count_though_the_files_stay(folder, tmp_path):
    found = []
    for label in (0, 1):
        (tmp_path / "list.txt").write_text(f"class_0/0000.png {label}\nclass_1/0001.png 1\n")
        options = dict(type="CustomDataset", data_root=str(folder), ann_file=str(tmp_path / "list.txt"))
        found.append(images_record(build_dataset({**options, "pipeline": [LOAD, PACK]})))
    assert found[0].listing != found[1].listing


def test_a_part_of_the_images_is_looked_at_alone(folder):
    images = dataset(folder)
    part = images_record(images, [0, 1])
    assert part.images == 2
    older(folder / "class_3" / "0003.png")
    assert images_record(images, [0, 1]) == part
    older(folder / "class_0" / "0000.png")
    assert images_record(images, [0, 1]) != part


class InMemory(BaseDataset):
    def load_data_list(self):
        rng = np.random.default_rng(0)
        return [dict(img=rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), gt_label=i % 2) for i in range(3)]


def test_images_in_memory_are_known_by_their_pixels():
    one, other = InMemory(ann_file="", serialize_data=False), InMemory(ann_file="", serialize_data=False)
    assert images_record(one) == images_record(other)
    other.data_list[1]["img"][0, 0, 0] ^= 1
    assert images_record(one).listing != images_record(other).listing


def test_every_parameter_of_every_transform_counts(folder):
    crop = dict(type="CenterCrop", crop_size=16)
    variants = [
        dataset(folder, crop),
        dataset(folder, dict(crop, crop_size=17)),
        dataset(folder, dict(crop, auto_pad=True)),
        dataset(folder, crop, dict(type="torchvision/Resize", size=8)),
        dataset(folder, crop, dict(type="torchvision/Resize", size=8, interpolation="bicubic")),
        build_dataset(
            dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder), pipeline=[dict(LOAD, bits=12), crop, PACK])
        ),
        build_dataset(
            dict(
                type="mmssl_dynamic.ImageFolder",
                data_root=str(folder),
                pipeline=[LOAD, crop, dict(PACK, meta_keys=("img_path",))],
            )
        ),
    ]
    assert len({pipeline_fingerprint(variant) for variant in variants}) == len(variants)
    assert pipeline_fingerprint(variants[0]) == pipeline_fingerprint(dataset(folder, crop))


def test_wrappers_do_what_their_inner_data_sets_do(folder):
    def repeated(size):
        inner = dict(
            type="mmssl_dynamic.ImageFolder",
            data_root=str(folder),
            pipeline=[LOAD, dict(type="CenterCrop", crop_size=size), PACK],
        )
        return build_dataset(dict(type="RepeatDataset", times=2, dataset=inner))

    assert pipeline_fingerprint(repeated(16)) == pipeline_fingerprint(repeated(16))
    assert pipeline_fingerprint(repeated(16)) != pipeline_fingerprint(repeated(17))
    with pytest.raises(ConfigError, match="a data set of type object has no 'pipeline'"):
        pipeline_fingerprint(object())
