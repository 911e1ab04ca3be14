import os

import pytest
import torch

from mmssl_dynamic.demo import steps
from mmssl_dynamic.demo.photos import DemoData
from mmssl_dynamic.loading import find_config, load_config
from tests.helpers import write_images


def test_a_folder_of_your_own_is_pretrained_on_and_is_a_task_if_it_is_labelled(tmp_path, monkeypatch):
    photos = DemoData(tmp_path, tmp_path / "pretrain", {"textures": tmp_path / "textures"}, 32, 0, {})
    monkeypatch.setattr(steps, "write_demo_data", lambda folder, seed: photos)
    assert steps.demo_images(tmp_path / "demo", None, 0, 10, 20) == (photos.pretrain, photos.tasks)
    write_images(tmp_path / "mine/train", 12)
    write_images(tmp_path / "mine/test", 8)
    images, tasks = steps.demo_images(tmp_path / "demo", tmp_path / "mine", 0, max_images=10, minimum=20)
    assert len(list(images.rglob("*.png"))) == 10
    assert tasks == {**photos.tasks, "your mine": tmp_path / "mine"}
    write_images(tmp_path / "unlabelled", 20)
    assert steps.demo_images(tmp_path / "other", tmp_path / "unlabelled", 0, 20, 20)[1] == photos.tasks


@pytest.mark.parametrize(("cores", "threads", "used"), [(2, 2, 1), (1, 1, 1), (8, 8, 7), (8, 3, 3)])
def test_a_core_is_left_to_the_loader_while_training(cores, threads, used, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with steps.a_core_for_the_loader():
            assert torch.get_num_threads() == used
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_random_weights_are_those_of_the_seed():
    config = load_config(find_config("demo/dspnet_demo.py"))
    one, again, other = (steps.random_backbone(config, seed).conv1.weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
