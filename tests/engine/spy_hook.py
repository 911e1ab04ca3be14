"""A hook that writes down what every process trained on and where it ended."""

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class SpyHook(Hook):
    def __init__(self, folder):
        self.folder, self.subnets, self.images = folder, [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.subnets.append(data_batch["data_samples"][0].subnet)
        self.images.append([sample.img_path for sample in data_batch["data_samples"]])

    def after_train(self, runner):
        weights = runner.model.module.state_dict()
        record = dict(subnets=self.subnets, images=self.images, weights=weights)
        torch.save(record, f"{self.folder}/rank{get_rank()}.pt")


@HOOKS.register_module()
class EndHook(Hook):
    """Writes down the weights that every process ended with."""

    def __init__(self, folder):
        self.folder = folder

    def after_train(self, runner):
        torch.save(runner.model.module.state_dict(), f"{self.folder}/rank{get_rank()}.pt")
