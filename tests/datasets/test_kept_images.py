"""An image is decoded once for any number of passes, in memory or on disk, and batches are the same as without."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import Dataset

from mmssl_dynamic.datasets import ImageBatches, Normalisation
from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.errors import UserNotice

NORMALISATION = Normalisation((120.0,) * 3, (60.0,) * 3, to_rgb=True)
IMAGE = 3 * 8 * 8 / 2**30  # GiB


class Numbers(Dataset):
    """Ten images that are filled with their positions; counts how often each is decoded."""

    def __init__(self, dtype=torch.uint8):
        self.dtype, self.decoded = dtype, []

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.decoded.append(index)
        sample = SimpleNamespace(gt_label=torch.tensor([index % 2]))
        return {"inputs": torch.full((3, 8, 8), index, dtype=self.dtype), "data_samples": sample}


def read(batches):
    return [(batch.indices, batch.images, batch.labels) for batch in batches]


def same(one, other):
    return len(one) == len(other) and all(
        a[0] == b[0] and torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) for a, b in zip(one, other)
    )


@pytest.mark.parametrize(("memory", "in_memory"), [(1.0, 10), (4.5 * IMAGE, 4), (1e-9, 0)])
def test_every_pass_has_the_same_batches_and_the_first_one_alone_decodes(tmp_path, memory, in_memory):
    expected = read(ImageBatches(Numbers(), NORMALISATION, 4))
    dataset, keeper = Numbers(), ImageKeeper(memory, tmp_path / "out")
    for _ in range(3):  # another object for every network, as the verbs have it
        assert same(read(ImageBatches(dataset, NORMALISATION, 4, kept=keeper)), expected)
    assert sorted(dataset.decoded) == list(range(10))
    assert (keeper.decoded, keeper.in_memory, keeper.on_disk) == (10, in_memory, 10 - in_memory)
    assert list(tmp_path.rglob("*.*")) == []  # the file on disk has no name that a kill could leave behind
    keeper.close()


def test_batches_of_some_images_take_what_is_held_and_decode_the_rest():
    dataset, keeper = Numbers(), ImageKeeper(1.0)
    batches = ImageBatches(dataset, NORMALISATION, 3, kept=keeper)
    plain = ImageBatches(Numbers(), NORMALISATION, 3)
    for chosen in ([1, 4, 5, 8], [0, 1, 2, 4, 5, 7, 8]):
        assert same(read(batches.take(chosen)), read(plain.take(chosen)))
    assert sorted(dataset.decoded) == [0, 1, 2, 4, 5, 7, 8]
    assert same(read(batches.between(1, 3)), read(plain)[1:3])
    assert sorted(dataset.decoded) == [0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_workers_decode_what_is_not_held():
    keeper = ImageKeeper(1.0)
    batches = ImageBatches(Numbers(), NORMALISATION, 4, num_workers=1, kept=keeper)
    read(batches.take([0, 5]))
    assert same(read(batches), read(ImageBatches(Numbers(), NORMALISATION, 4)))
    assert keeper.decoded == 10


@pytest.mark.parametrize(("memory", "dtype"), [(0.0, torch.uint8), (1.0, torch.float32)])
def test_without_room_and_of_other_than_pixels_nothing_is_held(tmp_path, memory, dtype):
    dataset, keeper = Numbers(dtype), ImageKeeper(memory, tmp_path)
    batches = ImageBatches(dataset, NORMALISATION, 4, kept=keeper)
    assert same(read(batches), read(batches))
    assert (len(dataset.decoded), keeper.decoded, keeper.in_memory, keeper.on_disk) == (20, 20, 0, 0)


def test_a_disk_with_little_room_holds_no_images_and_it_is_said_once(tmp_path, monkeypatch):
    usage = SimpleNamespace(total=100 * 2**30, free=5 * 2**30)
    monkeypatch.setattr("mmssl_dynamic.datasets.kept_images.shutil.disk_usage", lambda folder: usage)
    dataset, keeper = Numbers(), ImageKeeper(4 * IMAGE, tmp_path)
    batches = ImageBatches(dataset, NORMALISATION, 4, kept=keeper)
    with pytest.warns(UserNotice, match="has no room for more decoded images") as said:
        first = read(batches)
    assert len(said) == 1
    assert same(read(batches), first)
    assert len(dataset.decoded) == 10 + 6
