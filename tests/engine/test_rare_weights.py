"""Longer steps for weights that few steps train."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmssl_dynamic.datasets import SubnetBatchSampler, subnet_batch_sampler
from mmssl_dynamic.engine import SubnetOptimWrapper
from mmssl_dynamic.engine.hooks import ProgressivePhaseHook
from mmssl_dynamic.engine.rare_weights import longer_steps, step_factors
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import find_config, load_config
from mmssl_dynamic.subnets import FULL
from tests.helpers import build_sdr, samples, views

# W_0 and 4 of the 16 paths of stage_groups=(1, 1, 4, 4), not drawn alike.
SHARES = {FULL: 0.2, "0-0-0-0": 0.4, "0-0-0-1": 0.2, "0-0-1-0": 0.1, "0-0-1-1": 0.1}


@pytest.fixture
def model():
    return build_sdr(stage_groups=(1, 1, 4, 4))


def expected_share(model, parameter, index):
    """Share of the steps that train one weight, by asking every network whether it holds it."""
    total, held = 0.0, False
    for name, share in SHARES.items():
        region = model.regions_of(name).get(parameter, ())
        inside = all(s is None or any(a <= i < b for a, b in s.ranges) for s, i in zip(region, index))
        total += share * inside
        held |= inside and name != FULL
    return total if held else 1.0


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_factors_are_powers_of_the_share_of_the_steps_that_train_a_weight(model, power):
    factors = step_factors(model, SHARES, power)
    rng = torch.Generator().manual_seed(0)
    seen = set()
    for parameter in model.parameters():
        for _ in range(40):
            index = tuple(int(torch.randint(size, (1,), generator=rng)) for size in parameter.shape)
            share = expected_share(model, parameter, index)
            found = float(factors[parameter][index]) if parameter in factors else 1.0
            assert found == pytest.approx(share**-power, rel=1e-5)
            seen.add(round(share, 6))
    # all; the groups of stage 3 and 4 (with W_0); pairs of groups of both
    assert {1.0, 0.8, 0.4, 0.7, 0.5, 0.3} <= seen
    assert model.backbone.conv1.weight not in factors  # every step trains it
    assert step_factors(model, {FULL: 1.0}, power) == {}


def test_a_step_is_the_plain_step_times_the_factor_of_each_weight(model):
    """Of plain SGD with weight decay, and nothing else moves; where the factor is 1, to the bit."""
    stepped = {}
    for power in (0.0, 0.5):
        one = build_sdr(stage_groups=(1, 1, 4, 4))
        wrapper = SubnetOptimWrapper(torch.optim.SGD(one.parameters(), lr=0.1, weight_decay=0.01), rarity_power=power)
        wrapper.begin_phase(one, SHARES)
        before = {name: p.detach().clone() for name, p in one.named_parameters()}
        with wrapper.optim_context(one):
            losses = one.loss(views(0), samples("0-0-1-0"))
        wrapper.update_params(losses["loss_ssl"])
        stepped[power] = {name: (before[name], p.detach()) for name, p in one.named_parameters()}
        factors = {n: step_factors(one, SHARES, 0.5).get(p) for n, p in one.named_parameters()}
    moved_further = 0
    for name, (before, plain) in stepped[0.0].items():
        after, factor = stepped[0.5][name][1], factors[name]
        if factor is None:
            assert torch.equal(after, plain), name
            continue
        torch.testing.assert_close(after - before, factor * (plain - before), rtol=1e-4, atol=1e-7, msg=name)
        assert torch.equal(after[factor == 1], plain[factor == 1]), name
        moved_further += int(((after - before).abs() > 1.01 * (plain - before).abs()).sum())
    assert moved_further > 1000


def test_a_skipped_step_moves_nothing(model):
    factors = step_factors(model, SHARES, 1.0)
    before = [p.detach().clone() for p in model.parameters()]
    with longer_steps(factors):
        pass
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters()))


@pytest.mark.parametrize("power", [-0.1, 1.5])
def test_other_powers_are_refused(model, power):
    with pytest.raises(ConfigError, match="rarity_power"):
        SubnetOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), rarity_power=power)


@pytest.mark.parametrize(
    "config",
    [
        "sdr_simsiam_r50_256path.py",
        "sdr_byol_r50_256path_8xb64-coslr-400e_in1k.py",
        "sdr_mocov2_r50_256path_8xb32-coslr-200e_in1k.py",
    ],
)
def test_configs_leave_all_rates_alike_and_have_the_option(config):
    file = find_config(f"sdr/{config}")
    assert load_config(file).optim_wrapper.rarity_power == 0
    assert load_config(file, {"rarity_power": 0.5}).optim_wrapper.rarity_power == 0.5


def test_every_phase_sets_the_factors_of_its_draws(model):
    wrapper = SubnetOptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), rarity_power=1.0)
    space = model.backbone.space

    class Dataset:
        def __init__(self):
            self.space, self.subnet_data = space, "cluster"

        def indices(self, name):
            return np.arange(8)

        def __len__(self):
            return 8

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subnet_batch_sampler, "SubnetDataset", Dataset)
        drawn = SubnetBatchSampler(SimpleNamespace(dataset=Dataset(), seed=0, rank=0, world_size=1), 4, full_share=0.5)
    runner = SimpleNamespace(
        train_dataloader=SimpleNamespace(batch_sampler=drawn),
        optim_wrapper=wrapper,
        model=model,
        max_iters=9,
        iter=0,
        message_hub=SimpleNamespace(update_scalar=lambda *_: None),
        logger=SimpleNamespace(info=lambda *_: None),
    )
    hook = ProgressivePhaseHook()
    hook.before_train(runner)
    largest = []
    for runner.iter in range(9):
        hook.before_train_iter(runner, runner.iter)
        largest.append(max((float(f.max()) for f in wrapper._factors.values()), default=1.0))
    # W_0 alone; half of the steps to W_0 and a quarter of the others to each group; ... to each pair of groups.
    pairs, groups = 1 / (0.5 + 0.5 / 16), 1 / (0.5 + 0.5 / 4)
    assert largest == pytest.approx([1] * 3 + [groups] * 3 + [pairs] * 3)
