import pytest
import torch
from mmpretrain.registry import MODELS

from mmssl_dynamic.datasets import ImageBatches, Normalisation, build_dataset
from mmssl_dynamic.errors import ConfigError, DataError
from tests.helpers import write_images

NORMALISATION = Normalisation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), to_rgb=True)
PIPELINE = [dict(type="mmssl_dynamic.LoadImage"), dict(type="PackInputs")]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = write_images(tmp_path_factory.mktemp("images"), 10)
    return build_dataset(dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder), pipeline=PIPELINE))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_hold_every_image_in_order_with_its_label(dataset, workers):
    batches = ImageBatches(dataset, NORMALISATION, 4, num_workers=workers)
    seen = list(batches)
    assert (len(batches), batches.num_images) == (3, 10)
    assert [i for batch in seen for i in batch.indices] == list(range(10))
    labels = torch.cat([batch.labels for batch in seen])
    assert labels.tolist() == [dataset.get_data_info(i)["gt_label"] for i in range(10)]
    assert [batch.images.shape[0] for batch in seen] == [4, 4, 2]


def test_images_are_normalised_as_mmpretrains_preprocessor_does(dataset):
    theirs = MODELS.build(dict(type="SelfSupDataPreprocessor", **NORMALISATION.record()))
    batch = next(iter(ImageBatches(dataset, NORMALISATION, 4)))
    raw = torch.stack([dataset[i]["inputs"] for i in range(4)])
    expected = theirs(dict(inputs=[raw], data_samples=[None]))["inputs"][0]
    torch.testing.assert_close(batch.images, expected)


@pytest.mark.parametrize("nothing", [None, {}, dict(mean=[0.0] * 3, std=[1.0] * 3)])
def test_batches_without_a_normalisation_are_refused(dataset, nothing):
    with pytest.raises(ConfigError, match="needs the Normalisation"):
        ImageBatches(dataset, nothing, 4)


def test_a_part_of_the_data_set_comes_in_the_order_asked_for(dataset):
    batches = ImageBatches(dataset, NORMALISATION, 2, indices=[7, 1, 4])
    assert [batch.indices for batch in batches] == [[7, 1], [4]]


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (dict(type="mmssl_dynamic.ImageFolder", data_root="nowhere"), DataError, "nowhere"),
        (dict(type="NoSuchDataset"), ConfigError, "NoSuchDataset"),
        (dict(type="ImageNet", data_root="nowhere", split="train"), DataError, "nowhere"),
    ],
)
def test_data_that_cannot_be_read_is_named(config, error, message):
    with pytest.raises(error, match=message) as raised:
        build_dataset({"pipeline": [], **config})
    assert "\n" not in str(raised.value)


def test_images_of_different_sizes_in_a_batch_are_explained(tmp_path):
    write_images(tmp_path / "data", 2, size=16)
    write_images(tmp_path / "data/class_9", 2, size=24)
    dataset = build_dataset(dict(type="mmssl_dynamic.ImageFolder", data_root=str(tmp_path / "data"), pipeline=PIPELINE))
    with pytest.raises(ConfigError, match="CenterCrop"):
        list(ImageBatches(dataset, NORMALISATION, 4))


def test_a_hidden_folder_that_would_be_a_class_is_refused(tmp_path):
    write_images(tmp_path, 4, size=8)
    options = dict(type="CustomDataset", data_root=str(tmp_path), pipeline=[])
    assert len(build_dataset(options)) == 4
    (tmp_path / ".ipynb_checkpoints").mkdir()
    with pytest.raises(DataError, match=r"takes the folder \.ipynb_checkpoints for a class"):
        build_dataset(options)
