"""A resumed training by iterations draws what it would have drawn, and reads nothing it has trained on."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS
from torch.utils.data import Dataset

from mmssl_dynamic.engine import Runner

pytestmark = pytest.mark.usefixtures("mmdet_scope")
STOP, END = 5, 9


class Wide(Dataset):
    """Images by their number, some upright and some not; remembers what was read."""

    read = []

    def __len__(self):
        return 11

    def get_data_info(self, index):
        return dict(width=1 + index % 3, height=2)

    def __getitem__(self, index):
        type(self).read.append(index)
        return dict(inputs=torch.tensor([float(index)]))


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode="tensor"):
        return dict(loss=self.layer(torch.stack(inputs)).square().mean())


class Batches(Hook):
    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append([int(image) for image in data_batch["inputs"]])


@pytest.fixture(autouse=True)
def _registered():
    for registry, part in ((DATASETS, Wide), (MODELS, Line)):
        registry.register_module(module=part, force=True)
    yield
    for registry, part in ((DATASETS, Wide), (MODELS, Line)):
        registry.module_dict.pop(part.__name__)


def train(folder, end, resume=False, batch_sampler=None, sampler="InfiniteSampler", loop="mmssl_dynamic.IterLoop"):
    Wide.read, hook = [], Batches()
    runner = Runner(
        model=Line(),
        work_dir=str(folder),
        train_dataloader=dict(
            batch_size=2, dataset=Wide(), sampler=dict(type=sampler, shuffle=True), batch_sampler=batch_sampler
        ),
        train_cfg=dict(type=loop, max_iters=end),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=1e-4)),
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=STOP), logger=None),
        randomness=dict(seed=3),
        resume=resume,
        experiment_name=f"{folder.name}{end}{resume}",
        log_level="ERROR",
    )
    runner.register_hook(hook)
    runner.train()
    return hook.seen, Wide.read


@pytest.mark.parametrize("batch_sampler", [None, dict(type="mmdet.AspectRatioBatchSampler")])
def test_a_resumed_run_draws_the_same_images_and_reads_only_those_that_are_left(tmp_path, batch_sampler):
    whole, _ = train(tmp_path / "whole", END, batch_sampler=batch_sampler)
    train(tmp_path / "parts", STOP, batch_sampler=batch_sampler)
    rest, read = train(tmp_path / "parts", END, resume=True, batch_sampler=batch_sampler)
    assert rest == whole[STOP:]
    assert read == [image for batch in rest for image in batch]
    if batch_sampler is not None:  # and the batches are still of one kind
        assert all(len({image % 3 == 0 for image in batch}) == 1 for batch in whole)


def test_with_another_sampler_it_is_mmengines_loop(tmp_path):
    parts = {}
    for loop in ("mmssl_dynamic.IterLoop", "IterBasedTrainLoop"):
        folder = tmp_path / loop
        train(folder, STOP, sampler="DefaultSampler", loop=loop)
        parts[loop] = train(folder, STOP + 1, resume=True, sampler="DefaultSampler", loop=loop)
    assert parts["mmssl_dynamic.IterLoop"] == parts["IterBasedTrainLoop"]
