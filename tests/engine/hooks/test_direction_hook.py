"""The direction of a step is the same in all processes and after a resume, and there is a model that asks for it."""

from types import SimpleNamespace

import pytest
import torch

from mmssl_dynamic.engine import DirectionHook
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.selfsup.directions import draw_first_view
from tests.helpers import build_sdr, samples, views


def runner(directions, seed=5, **randomness):
    return SimpleNamespace(model=build_sdr(directions=directions), seed=seed, iter=0, _randomness_cfg=randomness)


def test_every_step_has_the_direction_of_seed_and_step():
    hook, run = DirectionHook(), runner("alternate")
    hook.before_train(run)
    seen = []
    for run.iter in range(20):
        hook.before_train_iter(run, 0)
        seen.append(run.model.first_view)
        run.model.loss(views(0), samples("full"))
    assert seen == [draw_first_view(5, step) for step in range(20)]
    resumed = runner("alternate")
    resumed.iter = 11
    DirectionHook().before_train_iter(resumed, 3)
    assert resumed.model.first_view == seen[11]


def test_a_model_that_trains_both_has_no_direction_drawn_and_one_without_directions_is_refused():
    run = runner("both")
    DirectionHook().before_train(run)
    DirectionHook().before_train_iter(run, 0)
    assert run.model.first_view is None
    run.model = torch.nn.Linear(1, 1)
    with pytest.raises(ConfigError, match="DirectionHook needs a model with directions, such as .*SDR, not Linear"):
        DirectionHook().before_train(run)
