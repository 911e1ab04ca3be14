"""The normalisation read from a config is what the config's data preprocessor does, or the config is refused."""

import pytest
import torch
from mmengine.model import ImgDataPreprocessor
from mmpretrain.registry import MODELS

from mmssl_dynamic.datasets import Normalisation
from mmssl_dynamic.errors import ConfigError

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


@pytest.fixture
def foreign():
    """Registers data preprocessors for one test."""
    registered = []

    def register(cls):
        MODELS.register_module(name=cls.__name__, module=cls)
        registered.append(cls.__name__)
        return cls.__name__

    yield register
    for name in registered:
        MODELS.module_dict.pop(name)


@pytest.mark.parametrize(
    "options",
    [
        dict(type="SelfSupDataPreprocessor", mean=MEAN, std=STD, to_rgb=True),
        dict(type="SelfSupDataPreprocessor", mean=MEAN, std=STD, bgr_to_rgb=True),
        dict(type="SelfSupDataPreprocessor", mean=MEAN, std=STD),
        dict(type="SelfSupDataPreprocessor"),
        dict(type="mmpretrain.ClsDataPreprocessor", mean=MEAN, std=STD, to_rgb=True, num_classes=7),
        dict(type="ClsDataPreprocessor", mean=[127.0], std=[50.0]),
        dict(type="ImgDataPreprocessor", mean=MEAN, std=STD, rgb_to_bgr=True),
        dict(type="BaseDataPreprocessor"),
    ],
)
def test_it_does_what_the_class_does(options):
    images = torch.randint(256, (2, 3, 8, 9), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with MODELS.switch_scope_and_registry("mmpretrain") as registry:
        theirs = registry.build(dict(options))
    expected = theirs({"inputs": images, "data_samples": None})["inputs"]
    torch.testing.assert_close(Normalisation.of(options)(images), expected.float())


def test_what_cannot_be_read_from_the_config_is_refused(foreign):
    class Scaled(ImgDataPreprocessor):
        def forward(self, data, training=False):
            return {"inputs": super().forward(data, training)["inputs"] / 255}

    class Broken(ImgDataPreprocessor):
        def forward(self, data, training=False):
            raise ValueError("no")

    with pytest.raises(ConfigError, match="Scaled does more to images"):
        Normalisation.of(dict(type=foreign(Scaled), mean=MEAN, std=STD))
    with pytest.raises(ConfigError, match="Broken cannot be used: no"):
        Normalisation.of(dict(type=foreign(Broken)))
    with pytest.raises(ConfigError, match="without padding"):
        Normalisation.of(dict(type="ClsDataPreprocessor", mean=MEAN, std=STD, pad_size_divisor=32))
    with pytest.raises(ConfigError, match="NoSuchPreprocessor cannot be used"):
        Normalisation.of(dict(type="NoSuchPreprocessor"))
    for mean in ([1.0, 2.0], 5.0, ["a", "b", "c"]):
        with pytest.raises(ConfigError, match=r"data_preprocessor\.mean=.* must be three numbers"):
            Normalisation.of(dict(mean=mean, std=STD))


def test_its_record_is_a_preprocessor_that_does_the_same():
    one = Normalisation((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), to_rgb=True)
    assert one.channel_order == "RGB"
    assert Normalisation.of(one.record()) == one
    assert Normalisation.of(dict(type="ClsDataPreprocessor", **one.record())) == one
    assert Normalisation((0.0,) * 3, (1.0,) * 3, to_rgb=False).channel_order == "BGR"
