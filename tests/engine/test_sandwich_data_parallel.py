"""Two gloo processes of a sandwich step stand for one process with the joint batch."""

import logging

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from torch.optim import SGD

from mmssl_dynamic.engine import SandwichDataParallel
from mmssl_dynamic.errors import ConfigError
from tests.helpers import SYNC, build_slimmable, views

STEPS = 3


def train(part, target_bn, wrap):
    """A few steps on this process's part of the joint batch; the weights at the end."""
    logging.disable(logging.CRITICAL)
    model = build_slimmable(
        "DSPNet", target_bn=target_bn, norm_cfg=SYNC
    ).double()  # in single precision rounding grows from step to step
    model.data_preprocessor.forward = lambda data, training: data  # which would make them single again
    if wrap is not None:
        if dist.get_rank() == 1:  # the wrapper has to make the processes agree
            torch.nn.init.ones_(model.backbone.conv1.weight)
        wrap(model)
    model.networks = model.backbone.subnets
    wrapper = OptimWrapper(SGD(model.parameters(), lr=0.05, momentum=0.9))
    for step in range(STEPS):
        model.set_momentum_bn(1 - step / STEPS)
        model.train_step(dict(inputs=[v[part].double() for v in views(step)], data_samples=None), wrapper)
        model.update_target(0.1)
    logging.disable(logging.NOTSET)
    return model.state_dict()


def work(rank, path, out):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    for target_bn in ("batch", "momentum"):
        torch.save(train(slice(rank, None, 2), target_bn, SandwichDataParallel), f"{out}/{target_bn}{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_end_where_one_with_the_joint_batch_does(tmp_path):
    mp.spawn(work, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2)
    for target_bn in ("batch", "momentum"):
        one, two = (torch.load(tmp_path / f"{target_bn}{rank}.pt") for rank in range(2))
        joint = train(slice(None), target_bn, None)
        for name, value in joint.items():
            assert torch.equal(one[name], two[name]), name
            torch.testing.assert_close(one[name], value, rtol=1e-7, atol=1e-9, msg=name)
        moved = build_slimmable("DSPNet", target_bn=target_bn, norm_cfg=SYNC).double().backbone.conv1.weight
        assert (moved - joint["backbone.conv1.weight"]).abs().max() > 1e-3  # far more than the tolerance


def test_the_wrapper_is_one_for_mmengine_and_refuses_other_models():
    wrapped = SandwichDataParallel(build_slimmable("DSPNet"))
    assert is_model_wrapper(wrapped)
    with pytest.raises(ConfigError, match="not Linear; leave model_wrapper_cfg out"):
        SandwichDataParallel(torch.nn.Linear(2, 2))
