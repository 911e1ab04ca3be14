"""Two gloo processes of SDR, on three base methods and over slimmable paths, stand for one with the joint batch."""

import logging

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.model import MMDistributedDataParallel
from torch.optim import SGD

from mmssl_dynamic.engine import SandwichDataParallel, SubnetOptimWrapper
from mmssl_dynamic.models.elastic import inactive_blocks
from mmssl_dynamic.subnets import FULL
from tests.helpers import HEAD, MOCO_HEAD, MOCO_NECK, NECK, SYNC, build_sdr, byol_parts, samples, views

NETWORKS = (FULL, "0-3-1-2", "0-3-0-0", "2-1-1-2", FULL)
KINDS = ("SDR", "SDRBYOL", "SDRMoCo", "SDRSlimmable")
HALVES = slice(0, 4), slice(4, 8)


def build(kind):
    if kind in ("SDR", "SDRSlimmable"):
        neck, head = dict(NECK, norm_cfg=SYNC), dict(HEAD, predictor=dict(HEAD["predictor"], norm_cfg=SYNC))
    elif kind == "SDRBYOL":
        neck, head = byol_parts(SYNC)
    else:
        neck, head = MOCO_NECK, MOCO_HEAD
    options = dict(queue_len=24) if kind == "SDRMoCo" else {}
    if kind == "SDRSlimmable":
        options = dict(network=dict(type="mmssl_dynamic.SDRSlimmableResNet", widths=(0.5, 1.0)))
    model = build_sdr(
        kind=kind, neck=neck, head=head, **options
    ).double()  # in single precision rounding grows step by step
    for module in model.modules():
        if hasattr(module, "sync"):
            module.sync = True
    model.data_preprocessor.forward = lambda data, training: data  # which would make them single again
    return model


def train(kind, part, wrap=None):
    """Weights after every step on this process's part of the joint batch, and how much of them must not have moved."""
    logging.disable(logging.CRITICAL)
    model = build(kind)
    if wrap is not None and dist.get_rank() == 1:  # the wrapper has to make the processes agree
        torch.nn.init.ones_(model.backbone.conv1.weight)
    stepped = model if wrap is None else wrap(model)
    wrapper = SubnetOptimWrapper(SGD([p for p in model.parameters() if p.requires_grad], 0.05, 0.9, weight_decay=1e-2))
    history, protected = [], 0
    for step, name in enumerate(NETWORKS):
        before = {key: value.clone() for key, value in model.state_dict().items()}
        inputs = [view[part].double() for view in views(step)]
        stepped.train_step(dict(inputs=inputs, data_samples=samples(name, len(inputs[0]))), wrapper)
        names = {id(parameter): key for key, parameter in model.named_parameters()}
        for parameter, region in model.trained_regions().items():
            for block in inactive_blocks(parameter, region):
                assert torch.equal(parameter[block], before[names[id(parameter)]][block])
                protected += parameter[block].numel()
        if hasattr(model, "target_net"):
            model.update_target(0.1)
        history.append({key: value.clone() for key, value in model.state_dict().items()})
    logging.disable(logging.NOTSET)
    assert protected
    return history


def work(rank, path, out):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{path}", rank=rank, world_size=2)
    for kind in KINDS:
        wrap = lambda model: MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False)  # noqa: E731
        wrap = SandwichDataParallel if kind == "SDRSlimmable" else wrap
        torch.save(train(kind, HALVES[rank], wrap), f"{out}/{kind}{rank}.pt")
    torch.save(moco_keys(HALVES[rank]), f"{out}/keys{rank}.pt")
    dist.destroy_process_group()


def moco_keys(part):
    """Keys of the second views in a model whose BatchNorm is each process's own."""
    model = build_sdr(kind="SDRMoCo", neck=MOCO_NECK, head=MOCO_HEAD, queue_len=24).double()
    model.keys_seen += 16
    inputs = tuple(view[part].double() for view in views(0))
    return model.targets(inputs, None)[0]


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(work, args=(str(folder / "store"), str(folder)), nprocs=2)
    return {kind: [torch.load(folder / f"{kind}{rank}.pt") for rank in range(2)] for kind in (*KINDS, "keys")}


@pytest.mark.parametrize("kind", KINDS)
def test_both_processes_hold_the_same_weights_and_statistics_after_every_step(ends, kind):
    one, two = ends[kind]
    assert len(one) == len(NETWORKS)
    for first, second in zip(one, two):
        for name, value in first.items():
            assert torch.equal(value, second[name]), name


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_take_the_steps_of_one_with_the_joint_batch(ends, kind):
    joint = train(kind, slice(None))
    for ours, reference in zip(ends[kind][0], joint):
        for name, value in reference.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-7, atol=1e-9, msg=name)
    start = build(kind).backbone.conv1.weight
    assert (joint[-1]["backbone.conv1.weight"] - start).abs().max() > 1e-4  # far more than the tolerance


def test_keys_are_normalised_among_images_drawn_from_both_processes_and_come_back_in_order(ends):
    """Shuffling BN: a query and its key share no batch by which they could be told from other images."""
    one, two = ends["keys"]
    assert torch.equal(one, two)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(16))  # of the step: 16 keys have been seen
    assert set(order[:4].tolist()) not in ({0, 1, 2, 3}, {4, 5, 6, 7})
    expected = torch.empty_like(one)
    for mixed in (order[:4], order[4:]):
        expected[mixed] = moco_keys(mixed)  # alone, in a batch of these four
    torch.testing.assert_close(one, expected)
    assert not torch.allclose(one[:4], moco_keys(HALVES[0]), atol=1e-3)
