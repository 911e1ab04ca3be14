import shutil

import pytest
from mmpretrain.datasets import CustomDataset

from mmssl_dynamic.datasets import build_dataset, sample_names
from mmssl_dynamic.errors import DataError
from tests.helpers import write_images


def names_of(folder, **options):
    config = dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder), pipeline=[], **options)
    return sample_names(build_dataset(config))


def test_names_are_relative_and_survive_moving_the_data(tmp_path):
    write_images(tmp_path / "here", 6)
    before = names_of(tmp_path / "here")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert names_of(tmp_path / "there") == before
    assert before[0] == "class_0/0000.png"


def test_names_of_mmpretrains_own_data_sets_are_the_same(tmp_path):
    write_images(tmp_path, 6)
    assert sample_names(CustomDataset(data_root=str(tmp_path), data_prefix="", pipeline=[])) == names_of(tmp_path)
    assert sample_names(CustomDataset(data_prefix=str(tmp_path), pipeline=[])) == names_of(tmp_path)


class InMemory(list):
    def get_data_info(self, index):
        return self[index]


def test_images_without_files_are_named_by_position():
    assert sample_names(InMemory([{"img": 0}, {"img": 1}])) == ["index:000000", "index:000001"]


def test_an_image_listed_twice_is_refused():
    with pytest.raises(DataError, match=r"b\.png twice"):
        sample_names(InMemory([{"img_path": "x/a.png"}, {"img_path": "x/b.png"}, {"img_path": "x/b.png"}]))
