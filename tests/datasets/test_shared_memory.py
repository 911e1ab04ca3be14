"""Loader processes without room to hand their batches over; a limit on the size of files stands for a tiny /dev/shm."""

import resource
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from mmssl_dynamic.datasets.batches import ImageBatches
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.datasets.shared_memory import HandOver, is_short_of_shared_memory
from mmssl_dynamic.errors import ConfigError, UserNotice
from tests.engine.toy import toy_runner

NORMALISATION = Normalisation(mean=(0.0,) * 3, std=(1.0,) * 3, to_rgb=False)


class Numbers(Dataset):
    """Images that are filled with their positions."""

    def __len__(self):
        return 10

    def __getitem__(self, index):
        sample = SimpleNamespace(gt_label=torch.tensor([index % 2]))
        return {"inputs": torch.full((3, 60, 60), index, dtype=torch.uint8), "data_samples": sample}


@pytest.fixture
def little_room():
    """Files, and so pieces of shared memory, have 20 kB at most; a batch of these tests has more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def read(workers):
    batches = ImageBatches(Numbers(), NORMALISATION, 4, num_workers=workers)
    return [(batch.indices, batch.images, batch.labels) for batch in batches], batches


def same(one, other):
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) for a, b in zip(one, other))


def test_batches_of_workers_are_those_without():
    plain, _ = read(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserNotice)
        found, _ = read(2)
    assert [indices for indices, _, _ in found] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert same(found, plain)


def test_without_room_images_are_loaded_without_workers_and_it_is_said_once(little_room):
    with pytest.warns(UserNotice, match=r"/dev/shm .* too little for 2 loader workers \(--workers\)"):
        found, batches = read(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserNotice)
        again = [(batch.indices, batch.images, batch.labels) for batch in batches]
    plain, _ = read(0)
    assert len(found) == len(plain) == 3
    assert same(found, plain)
    assert same(again, plain)


def test_a_lack_of_room_reaches_the_run_as_an_error(little_room):
    loader = DataLoader(Numbers(), batch_size=4, num_workers=1, collate_fn=HandOver(collate))
    with pytest.raises(RuntimeError) as error:
        list(loader)
    assert is_short_of_shared_memory(error.value)


def collate(samples):
    return {"images": torch.stack([sample["inputs"] for sample in samples]), "name": "a", "more": [np.arange(3)]}


def test_nested_batches_arrive_whole():
    batch = next(iter(DataLoader(Numbers(), batch_size=4, num_workers=1, collate_fn=HandOver(collate))))
    assert torch.equal(batch["images"][:, 0, 0, 0], torch.arange(4, dtype=torch.uint8))
    assert batch["name"] == "a"
    assert batch["more"][0].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("unable to write to file </torch_12_34_0>: No space left on device (28)", True),
        ("DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that ...", True),
        ("DataLoader worker (pid 12) is killed by signal: Killed.", False),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_what_says_that_there_is_no_room(text, short):
    assert is_short_of_shared_memory(RuntimeError(text)) is short


def test_a_training_ends_in_a_sentence_that_names_the_option(tmp_path, little_room):
    runner = toy_runner(tmp_path, wide=20_000, workers=1, default_hooks=dict(checkpoint=None))
    with pytest.raises(ConfigError, match=r"/dev/shm .*; set num_workers=0 \(--workers 0"):
        runner.train()
