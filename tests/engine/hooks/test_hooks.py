import math
from types import SimpleNamespace

import pytest
import torch

from mmssl_dynamic.engine import CollapseMonitorHook, FixedPredictorLrHook
from mmssl_dynamic.engine.hooks.progressive_phase_hook import phase_ends
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.subnets import PathWidthSpace
from tests.helpers import build_sdr, samples


class Logger(list):
    def warning(self, text):
        self.append(text)


def runner(tmp_path):
    scalars = {}
    return SimpleNamespace(
        model=build_sdr(),
        logger=Logger(),
        work_dir=str(tmp_path),
        scalars=scalars,
        message_hub=SimpleNamespace(update_scalar=scalars.__setitem__),
    )


def feed(hook, run, name, share, steps):
    """Steps whose projections have this share of the healthy std."""
    for _ in range(steps):
        hook.after_train_iter(run, 0, {"data_samples": samples(name, 2)}, {"std": torch.tensor(share / math.sqrt(32))})


def test_a_collapsing_subnet_is_named_once_and_healthy_ones_never(tmp_path):
    hook, run = CollapseMonitorHook(), runner(tmp_path)
    feed(hook, run, "full", 1.0, 30)
    feed(hook, run, "0-0-0-0", 0.05, 9)
    assert run.logger == []  # too few steps to judge
    feed(hook, run, "0-0-0-0", 0.05, 20)
    assert len(run.logger) == 1
    assert "'0-0-0-0' is collapsing" in run.logger[0]
    assert run.scalars["train/collapse_min"] == pytest.approx(0.05)


def test_widths_of_a_path_are_followed_by_their_names(tmp_path):
    hook, run = CollapseMonitorHook(), runner(tmp_path)
    run.model.backbone.space = PathWidthSpace((4, 4, 4, 4), (0.25, 0.5, 1.0))
    healthy, low = (torch.tensor(share / math.sqrt(32)) for share in (1.0, 0.5))
    batch = {"data_samples": samples("0-3-1-2", 2)}
    hook.after_train_iter(run, 0, batch, {"std": healthy, "std@w0.5": low, "loss_ssl@w0.5": healthy})
    hook.after_train_iter(run, 0, batch, {"std": healthy, "std@w0.25": low})
    hook.after_train_iter(run, 0, {"data_samples": samples("full", 2)}, {"std": healthy})
    assert hook.steps == {"0-3-1-2": 2, "0-3-1-2@w0.5": 1, "0-3-1-2@w0.25": 1, "full": 1}
    assert hook.health["0-3-1-2@w0.5"] == pytest.approx(0.5)
    assert run.scalars["train/collapse_min"] == pytest.approx(0.5)


def test_collapse_values_survive_a_resume_and_end_in_a_file(tmp_path):
    hook, run = CollapseMonitorHook(), runner(tmp_path)
    feed(hook, run, "full", 0.8, 5)
    checkpoint = {}
    hook.before_save_checkpoint(run, checkpoint)
    resumed = CollapseMonitorHook()
    resumed.after_load_checkpoint(run, checkpoint)
    feed(hook, run, "full", 0.4, 5)
    feed(resumed, run, "full", 0.4, 5)
    assert resumed.health == hook.health
    resumed.after_train(run)
    report = read_json(tmp_path / "collapse.json", "report")
    assert report["steps"] == {"full": 10}
    assert 0.4 < report["health"]["full"] < 0.8


def test_equal_phases_cover_the_training_and_lengths_are_relative():
    assert phase_ends(None, 5, 1000) == [200, 400, 600, 800, 1000]
    assert phase_ends(None, 3, 100) == [33, 67, 100]
    assert phase_ends([1, 1, 2], 3, 100) == [25, 50, 100]
    assert phase_ends(None, 3, 101, multiple=4) == [32, 68, 101]
    assert phase_ends([0, 1], 2, 10) == [0, 10]


@pytest.mark.parametrize("lengths", [[1], [1, -1, 1], [0, 0, 0]])
def test_impossible_phase_lengths_are_refused(lengths):
    with pytest.raises(ConfigError, match="3 numbers"):
        phase_ends(lengths, 3, 100)


def test_a_config_that_fixes_no_rate_is_refused():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    run = SimpleNamespace(optim_wrapper=SimpleNamespace(optimizer=optimizer))
    with pytest.raises(ConfigError, match="fix_lr"):
        FixedPredictorLrHook().before_train(run)


@pytest.mark.parametrize("options", [dict(threshold=1.5), dict(momentum=1.0)])
def test_impossible_thresholds_are_refused(options):
    with pytest.raises(ConfigError, match="CollapseMonitorHook"):
        CollapseMonitorHook(**options)
