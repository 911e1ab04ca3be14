import json

import pytest
import torch
from mmengine.hooks import Hook

from mmssl_dynamic.errors import DivergedError
from tests.engine.toy import ToyModel, checkpoints, toy_runner


class Blast(Hook):
    """Makes the loss of a step what it should not be."""

    def __init__(self, value, step):
        self.value, self.step = value, step

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.step:
            data_batch["inputs"][0][:] = self.value


class Banked(Hook):
    """Stands for whatever writes results at the end."""

    def after_train(self, runner):
        raise AssertionError("the end was reached")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_loss_that_is_not_finite_ends_the_training_and_keeps_the_checkpoint(tmp_path, value):
    runner = toy_runner(tmp_path / "run", hooks=[Blast(value, 9), Banked()], checkpoint=dict(max_keep_ckpts=1))
    with pytest.raises(DivergedError, match=r"loss is (nan|inf) at step 10 \(epoch 3\): .*epoch_2.pth is the last"):
        runner.train()
    assert checkpoints(tmp_path / "run") == ["epoch_2.pth"]


def test_before_the_first_checkpoint_it_says_so(tmp_path):
    with pytest.raises(DivergedError, match="before the first checkpoint"):
        toy_runner(tmp_path / "run", hooks=[Blast(float("nan"), 1)]).train()


def test_logged_values_that_are_not_finite_are_valid_json(tmp_path, monkeypatch):
    forward = ToyModel.forward

    def with_measure(self, inputs, mode="loss"):
        return {**forward(self, inputs), "measure": torch.tensor(float("nan"))}

    monkeypatch.setattr(ToyModel, "forward", with_measure)
    hooks = dict(logger=dict(type="LoggerHook", interval=1))
    toy_runner(tmp_path / "run", max_epochs=1, default_hooks=hooks).train()
    lines = next((tmp_path / "run").glob("*/vis_data/scalars.json")).read_text().splitlines()
    assert len(lines) == 4
    for line in lines:
        assert json.loads(line, parse_constant=pytest.fail)["measure"] is None
