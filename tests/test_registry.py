"""What is built, and what a step computes, does not depend on the default scope that others have left behind."""

import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmpretrain.structures import DataSample

from mmssl_dynamic.registry import default_scope_kept, mmpretrain_scope
from tests.helpers import MOCO_HEAD, MOCO_NECK, build_sdr, build_slimmable, byol_parts, samples, views

SCOPES = ("mmengine", "mmpretrain", "mmdet")


def enter(scope):
    """What a Runner, or a detector in the same notebook, does. The plugin of the suite takes it back."""
    if scope == "mmdet":
        pytest.importorskip("mmdet")
    if scope is not None:
        DefaultScope.get_instance(f"left-by-{scope}", scope_name=scope)


def classifier():
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type="mmssl_dynamic.SlimmableImageClassifier",
            backbone=dict(type="mmssl_dynamic.SlimmableMobileNetV3", arch="small", widths=(0.25, 0.5)),
            head=dict(num_classes=5, loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1)),
            train_cfg=dict(augments=dict(type="Mixup", alpha=0.2)),
            data_preprocessor=dict(mean=[0.0], std=[1.0]),
        )
    )
    model.init_weights()
    return model.train()


def sdr_byol():
    neck, head = byol_parts()
    return build_sdr(kind="SDRBYOL", neck=neck, head=head)


ALGORITHMS = {
    "SDR": lambda: build_sdr(distillation=dict(type="mmssl_dynamic.L2Distillation")),
    "SDRBYOL": sdr_byol,
    "SDRMoCo": lambda: build_sdr(kind="SDRMoCo", neck=MOCO_NECK, head=MOCO_HEAD, queue_len=16),
    "DSPNet": lambda: build_slimmable("DSPNet", target_bn="momentum"),
    "SlimmableSimSiam": lambda: build_slimmable("SlimmableSimSiam"),
    "SlimmableImageClassifier": classifier,
}


def losses(name):
    model = ALGORITHMS[name]()
    if name == "SlimmableImageClassifier":
        labels = [DataSample().set_gt_label(i % 5) for i in range(8)]
        found = model.loss(views(0)[0], labels)
    else:
        found = model.loss(views(0), samples("0-1-0-2"))
    return type(model.data_preprocessor), {key: value.item() for key, value in found.items() if "loss" in key}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_has_the_same_parts_and_losses_under_any_default_scope(name, scope):
    expected = losses(name)
    enter(scope)
    assert losses(name) == expected
    assert DefaultScope.get_current_instance().scope_name == scope


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("head", ["LinearBNHead", "ElasticLinearHead"])
def test_a_head_alone_takes_mmpretrains_loss_and_not_that_of_the_same_name_in_mmdet(head, scope):
    enter(scope)
    built = MODELS.build(
        dict(
            type=f"mmssl_dynamic.{head}",
            num_classes=3,
            in_channels=4,
            loss=dict(type="CrossEntropyLoss", use_soft=True),
        )
    )
    assert type(built.loss_module).__module__.startswith("mmpretrain.")


def test_both_contexts_give_the_default_scope_back():
    assert DefaultScope.get_current_instance() is None
    with mmpretrain_scope():
        assert DefaultScope.get_current_instance().scope_name == "mmpretrain"
    assert DefaultScope.get_current_instance() is None
    enter("mmengine")

    @default_scope_kept()
    def fails():
        enter("mmpretrain")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert DefaultScope.get_current_instance().scope_name == "mmengine"
