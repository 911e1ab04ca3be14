from types import SimpleNamespace

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmpretrain.registry import MODELS
from mmpretrain.utils import register_all_modules
from torch import nn
from torch.utils.data import DataLoader

from mmssl_dynamic.engine import batch_of_one
from mmssl_dynamic.engine.batch_of_one import check_batches
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.elastic import SyncBN
from tests.helpers import build_sdr


def loader(images, batch_size, drop_last=False):
    return DataLoader(torch.zeros(images, 1), batch_size=batch_size, drop_last=drop_last)


@pytest.mark.parametrize(
    ("images", "size", "drop_last", "sentence"),
    [
        (8, 1, False, r"train_dataloader.batch_size=1 leaves BatchNorm \('.*'\) no variance; set it to at least 2"),
        (8, 1, True, "train_dataloader.batch_size=1"),
        (9, 4, False, r"last batch of an epoch has one image \(9 images in batches of 4\).*drop_last=True"),
        (9, 4, True, None),
        (8, 4, False, None),
        (10, 4, False, None),
    ],
)
def test_a_batch_of_one_image_is_refused_where_vectors_are_normalised(images, size, drop_last, sentence):
    model = build_sdr()
    if sentence is None:
        check_batches(model, loader(images, size, drop_last))
        return
    with pytest.raises(ConfigError, match=sentence):
        check_batches(model, loader(images, size, drop_last))


def neck(norm):
    register_all_modules(init_default_scope=False)
    return MODELS.build(
        dict(
            type="NonLinearNeck",
            in_channels=8,
            hid_channels=8,
            out_channels=8,
            with_avg_pool=False,
            norm_cfg=dict(type=norm),
        )
    )


def test_layers_that_a_single_process_cannot_synchronise_are_meant_too(monkeypatch):
    for model in (revert_sync_batchnorm(neck("SyncBN")), neck("mmssl_dynamic.SyncBN")):
        with pytest.raises(ConfigError, match="'bn0'"):
            check_batches(model.train(), loader(4, 1))
    monkeypatch.setattr(batch_of_one, "get_world_size", lambda: 2)
    check_batches(neck("mmssl_dynamic.SyncBN"), loader(4, 1))


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),  # maps of one image have a variance
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval(),
        nn.Sequential(nn.Linear(3, 4)),
    ],
)
def test_a_batch_of_one_is_fine_elsewhere(model):
    check_batches(model, loader(4, 1))


def test_loaders_that_draw_otherwise_are_left_alone():
    check_batches(build_sdr(), SimpleNamespace(batch_sampler=None))


def test_it_is_the_layer_that_pytorch_would_stop_at():
    model = nn.Sequential(nn.Linear(3, 4), SyncBN(4))
    with pytest.raises(ConfigError, match="'1'"):
        check_batches(model, loader(4, 1))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        model(torch.zeros(1, 3))
