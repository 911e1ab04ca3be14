"""A training of a second: a linear model on random vectors that are called like images."""

import itertools
from pathlib import Path

import numpy as np
import torch
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from mmssl_dynamic.datasets import SeededDataset
from mmssl_dynamic.engine import Runner

_counter = itertools.count()


class ToyModel(BaseModel):
    """Predicts a number from eight."""

    def __init__(self, width=8):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.last = nn.Linear(8, width), nn.Linear(width, 1)
        for parameter in self.parameters():
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)

    def forward(self, inputs, mode="loss"):
        x = torch.stack(list(inputs)) if isinstance(inputs, list | tuple) else inputs
        return {"loss": (self.last(torch.tanh(self.first(x)))[:, 0] - x.sum(1)).square().mean()}


class ToySet(Dataset):
    """Vectors that depend on their names alone."""

    def __init__(self, names, wide=0):
        self.names, self.wide = list(names), wide

    def full_init(self):
        pass

    def get_data_info(self, index):
        return {"img_path": f"/images/{self.names[index]}"}

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        seed = int.from_bytes(self.names[index].encode(), "big") % 2**32
        sample = {"inputs": torch.from_numpy(np.random.default_rng(seed).normal(size=8).astype(np.float32))}
        return {**sample, "inputs": torch.zeros(self.wide)} if self.wide else sample


def names(count, start=0):
    return [f"{i:03d}.jpg" for i in range(start, start + count)]


class Rates:
    """Notes the learning rates of every group at every step."""

    def __init__(self):
        self.seen = []

    def hook(self):
        from mmengine.hooks import Hook

        seen = self.seen

        class Note(Hook):
            def before_train_iter(self, runner, batch_idx, data_batch=None):
                seen.append([group["lr"] for group in runner.optim_wrapper.optimizer.param_groups])

        return Note()


def toy_runner(
    work_dir, images=16, max_epochs=4, hooks=(), checkpoint=None, resumable=False, wide=0, workers=0, **options
):
    """A Runner of a toy training; ``options`` replace its arguments."""
    dataset = ToySet(names(images) if isinstance(images, int) else images, wide)
    batches = {}
    if resumable:
        dataset, batches = SeededDataset(dataset), dict(batch_sampler=dict(type="mmssl_dynamic.ResumableBatchSampler"))
    arguments = dict(
        model=ToyModel(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=dataset,
            batch_size=4,
            num_workers=workers,
            sampler=dict(type="DefaultSampler", shuffle=True),
            **batches,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-3)),
        param_scheduler=[dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs)],
        default_hooks=dict(checkpoint=dict(type="CheckpointHook", interval=1, **(checkpoint or {}))),
        custom_hooks=list(hooks),
        randomness=dict(seed=0),
        default_scope="mmpretrain",
        experiment_name=f"toy{next(_counter)}",
        log_level="WARNING",
    )
    arguments.update(options)
    return Runner(**arguments)


def checkpoints(work_dir):
    return sorted(path.name for path in Path(work_dir).glob("[!.]*.pth"))
