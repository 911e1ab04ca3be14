"""The classifier of DSPNet's linear probe."""

import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn


def head(**options):
    torch.manual_seed(0)
    return MODELS.build(dict(type="mmssl_dynamic.LinearBNHead", num_classes=5, in_channels=8, **options))


def test_forward_is_batch_norm_of_the_linear_layer():
    built, features = head(), torch.randn(6, 8)
    linear, norm = nn.Linear(8, 5), nn.BatchNorm1d(5)
    linear.load_state_dict(built.fc.state_dict())
    for _ in range(2):  # training: batch statistics, which also move the running ones
        torch.testing.assert_close(built((features,)), norm(linear(features)))
    assert built.bn.affine
    built.eval()
    torch.testing.assert_close(built((features,)), norm.eval()(linear(features)))
    torch.testing.assert_close(built.bn.running_var, norm.running_var)


def test_loss_reaches_both_layers_and_predictions_are_probabilities():
    built, features = head(norm_cfg=dict(type="mmssl_dynamic.SyncBN")), torch.randn(6, 8)
    samples = [DataSample().set_gt_label(i % 5) for i in range(6)]
    built.loss((features,), samples)["loss"].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in (built.fc.weight, built.bn.weight, built.bn.bias))
    predicted = built.eval().predict((features,), samples)
    torch.testing.assert_close(predicted[0].pred_score.sum(), torch.tensor(1.0))
