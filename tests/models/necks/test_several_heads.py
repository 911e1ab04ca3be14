"""Several heads: one of them is the plain head, and their losses are averaged."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch.optim import SGD

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models import SeveralProjectors
from tests.helpers import build_slimmable, byol_parts, views


def build(sizes):
    layers, head = byol_parts()
    predictor = head["predictor"]
    return build_slimmable(
        "DSPNet",
        neck=dict(
            type="mmssl_dynamic.SeveralProjectors", projectors=[dict(layers, out_channels=size) for size in sizes]
        ),
        head=dict(
            type="LatentPredictHead",
            loss=dict(type="mmssl_dynamic.CosineOfHeads", sizes=sizes, shift_factor=1.0),
            predictor=dict(
                type="mmssl_dynamic.SeveralPredictors",
                predictors=[dict(predictor, in_channels=size, out_channels=size) for size in sizes],
            ),
        ),
    )


def renamed(state):
    """Weights of the plain heads under the names of the first of several."""
    names = {"neck.": "neck.projectors.0.", "head.predictor.": "head.predictor.predictors.0."}
    found = {}
    for key, value in state.items():
        for old, new in {**names, "target_net.1.": "target_net.1.projectors.0."}.items():
            if key.startswith(old):
                key = new + key.removeprefix(old)
                break
        found[key] = value
    return found


def test_one_head_is_the_plain_one_for_three_steps():
    plain, several = build_slimmable("DSPNet"), build([16])
    several.load_state_dict(renamed(plain.state_dict()))
    losses = []
    for model in (plain, several):
        wrapper = OptimWrapper(SGD(model.parameters(), lr=0.1))
        found = []
        for step in range(3):
            found.append(float(model.train_step(dict(inputs=views(step), data_samples=None), wrapper)["loss"]))
            model.update_target(0.1)
        losses.append(found)
    assert losses[0] == losses[1]


def test_the_loss_is_the_mean_over_heads_and_each_is_trained_by_its_own_part():
    model = build([16, 8])
    assert model.neck.out_channels == 24
    losses = model.loss(views(0))
    name = model.backbone.subnets[-1]
    with torch.no_grad(), model.backbone.subnet(name):
        targets = [model.target_net(view)[0] for view in views(0)]
        wanted = []
        for head, part in enumerate((slice(0, 16), slice(16, 24))):
            for view, target in zip(views(0), reversed(targets)):
                z = model.neck.projectors[head](model.backbone(view))[0]
                q = model.head.predictor.predictors[head]([z])[0]
                wanted.append(2 - 2 * torch.cosine_similarity(q, target[:, part]).mean())
    # both directions of a head are summed, heads are averaged
    torch.testing.assert_close(losses[f"loss_{name}"].detach(), sum(wanted) / 2, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="options of one projector at least"):
        SeveralProjectors(8, [])
