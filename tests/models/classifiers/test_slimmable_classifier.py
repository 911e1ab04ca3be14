import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import METRICS, MODELS
from mmpretrain.structures import DataSample

from mmssl_dynamic.calibration import calibrate_path
from mmssl_dynamic.errors import ArtifactError, ConfigError, MissingStatisticsError
from mmssl_dynamic.evaluation import SubnetAccuracy
from mmssl_dynamic.models import SlimmableMobileNetV3
from tests.calibration.bn_reference import images as random_images

CLASSES = 7
MOBILENET = dict(type="mmssl_dynamic.SlimmableMobileNetV3", arch="small", widths=(0.5, 0.75, 1.0))
RESNET = dict(
    type="mmssl_dynamic.SlimmableResNet",
    channels=((8, 8, 8, 16), (8, 8, 16, 24)),
    blocks=((1, 1, 1, 1), (1, 1, 2, 1)),
    zero_init_residual=False,
)
PREPROCESSOR = dict(mean=[0.0], std=[1.0])


def build(backbone=RESNET, seed=0, head=None, **options):
    torch.manual_seed(seed)
    model = MODELS.build(
        dict(
            type="mmssl_dynamic.SlimmableImageClassifier",
            backbone=copy.deepcopy(backbone),
            head=dict(num_classes=CLASSES, **(head or {})),
            **{"data_preprocessor": dict(PREPROCESSOR), **options},
        )
    )
    model.init_weights()
    return model.train()


def labels(count, shift=0):
    return [DataSample().set_gt_label((i + shift) % CLASSES) for i in range(count)]


def batch(seed=0, count=8, shift=0):
    return dict(inputs=random_images(count, 64, seed), data_samples=labels(count, shift))


def wrapper(model, kind=OptimWrapper, lr=0.1, **options):
    return kind(torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9), **options)


def gradients(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


class Watched(OptimWrapper):
    """Notes the gradients of every update."""

    def step(self, **kwargs):
        self.seen = [p.grad.clone() for group in self.param_groups for p in group["params"]]
        self.steps = getattr(self, "steps", 0) + 1
        super().step(**kwargs)


def test_one_network_alone_is_mmpretrains_classifier_loss_by_loss():
    ours = build(dict(MOBILENET, widths=(1.0,)))
    theirs = ImageClassifier(
        backbone=dict(type="MobileNetV3", arch="small"),
        neck=dict(type="GlobalAveragePooling"),
        head=dict(type="LinearClsHead", num_classes=CLASSES, in_channels=576),
        data_preprocessor=dict(PREPROCESSOR),
    ).train()
    state = {name: value for name, value in ours.state_dict().items() if name != "backbone.switches"}
    theirs.load_state_dict(state, strict=True)
    optimisers = wrapper(ours), wrapper(theirs)
    for step in range(4):
        losses = [float(m.train_step(batch(step), o)["loss"]) for m, o in zip((ours, theirs), optimisers)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    ours.eval(), theirs.eval()
    for one, other in zip(ours.val_step(batch(9)), theirs.val_step(batch(9))):
        torch.testing.assert_close(one.pred_score, other.pred_score, rtol=1e-3, atol=1e-5)
        torch.testing.assert_close(one.subnet_scores["w1.0"], other.pred_score, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("backbone", [RESNET, MOBILENET], ids=["resnet", "mobilenet"])
@pytest.mark.parametrize("switchable_bn", [None, "all"])
def test_accumulated_gradients_are_those_of_the_summed_loss(backbone, switchable_bn):
    model = build(dict(backbone, switchable_bn=switchable_bn))
    model.networks = model.backbone.subnets
    other = copy.deepcopy(model)
    optimiser = wrapper(model, Watched, lr=1e-6)
    logged = model.train_step(batch(), optimiser)
    data = other.data_preprocessor(batch(), True)
    losses = other.loss(data["inputs"], data["data_samples"])
    total = sum(value for name, value in losses.items() if "loss" in name)
    total.backward()
    assert float(logged["loss"]) == pytest.approx(float(total), rel=1e-5)
    assert optimiser.steps == 1
    for grad, (name, parameter) in zip(optimiser.seen, other.named_parameters()):
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(grad, parameter.grad, rtol=0, atol=1e-4 * scale + 1e-8, msg=name)


def test_passes_that_are_accumulated_make_one_update_of_their_mean_gradient():
    model = build()
    other = copy.deepcopy(model)
    optimiser = wrapper(model, Watched, accumulative_counts=2)
    before = copy.deepcopy(dict(model.named_parameters()))
    model.train_step(batch(0), optimiser)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
    model.train_step(batch(1), optimiser)
    assert optimiser.steps == 1
    for seed in (0, 1):
        data = other.data_preprocessor(batch(seed), True)
        (sum(other.loss(data["inputs"], data["data_samples"]).values()) / 2).backward()
    for grad, (name, parameter) in zip(optimiser.seen, other.named_parameters()):
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(grad, parameter.grad, rtol=0, atol=1e-4 * scale + 1e-8, msg=name)


class Bfloat16Wrapper(OptimWrapper):
    """The autocast of mmengine's AmpOptimWrapper on the CPU, which needs no scaler."""

    def optim_context(self, model):
        return torch.autocast("cpu", dtype=torch.bfloat16)


def test_a_step_under_autocast_trains_as_one_without():
    model = build()
    other = copy.deepcopy(model)
    low, full = (m.train_step(batch(), wrapper(m, k)) for m, k in ((model, Bfloat16Wrapper), (other, OptimWrapper)))
    assert float(low["loss"]) == pytest.approx(float(full["loss"]), rel=0.05)
    assert all(p.dtype is torch.float32 for p in model.parameters())
    for (name, one), two in zip(model.named_parameters(), other.parameters()):
        torch.testing.assert_close(one, two, rtol=0.1, atol=0.05, msg=name)


def test_labels_reach_the_largest_network_only():
    found = {}
    for shift in (0, 3):
        model = build()
        names = model.backbone.subnets
        inputs, samples = batch(shift=shift)["inputs"], labels(8, shift)
        shared = model.begin_step(inputs, samples)
        for name in model.ordered(names):
            model.zero_grad()
            losses = model.network_loss(name, inputs, samples, shared)
            sum(losses.values()).backward()
            found[shift, name] = gradients(model)
            assert list(losses) == (["loss"] if name == names[-1] else ["loss_distill"])
    for name in names:
        same = [torch.equal(found[0, name][key], found[3, name][key]) for key in found[0, name]]
        assert not any(same) if name == names[-1] else all(same)


def test_the_others_learn_the_largest_networks_predictions_which_get_no_gradient_from_them():
    model = build()
    names = model.backbone.subnets
    data = batch()
    shared = model.begin_step(data["inputs"], data["data_samples"])
    model.network_loss(names[-1], data["inputs"], data["data_samples"], shared)
    assert not shared.log_probabilities.requires_grad
    teacher, student = model.scores("full", data["inputs"]), model.scores(names[0], data["inputs"])
    torch.testing.assert_close(shared.log_probabilities, teacher.log_softmax(1))
    p, log_q = teacher.softmax(1), student.log_softmax(1)
    divergence = (p * (p.log() - log_q)).sum(1).mean()
    losses = model.network_loss(names[0], data["inputs"], data["data_samples"], shared)
    torch.testing.assert_close(losses["loss_distill"], divergence, rtol=1e-4, atol=1e-7)
    losses["loss_distill"].backward()
    outside = model.backbone.layer4[0].conv1.weight.grad[16:]  # channels of the wide networks
    assert len(outside)
    assert torch.count_nonzero(outside) == 0


def test_the_largest_network_comes_first_whatever_the_order_of_a_step():
    model = build()
    names = model.backbone.subnets
    model.networks = names
    assert list(model.step_networks()) == [names[-1], *names[:-1]]
    model.networks = ("w0.041667-d1111", "full")
    assert model.step_networks()[0] == "full"
    model.networks = names[:2]
    with pytest.raises(ConfigError, match="nothing to learn from"):
        model.train_step(batch(), wrapper(model))


def test_log_variables_carry_the_names_of_their_networks():
    model = build(head=dict(cal_acc=True))
    names = model.backbone.subnets
    logged = model.train_step(batch(), wrapper(model))
    assert {"loss", f"loss_{names[-1]}", f"accuracy_top-1_{names[-1]}", f"loss_distill_{names[0]}"} == set(logged)


def test_mixed_labels_train_the_largest_network():
    model = build(
        train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8)]),
        data_preprocessor=dict(PREPROCESSOR, num_classes=CLASSES),
    )
    data = model.data_preprocessor(batch(), True)
    assert "gt_score" in data["data_samples"][0]
    losses = model.loss(data["inputs"], data["data_samples"])
    target = torch.stack([sample.gt_score for sample in data["data_samples"]])
    expected = -(target * model.scores("full", data["inputs"]).log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(losses[f"loss_{model.backbone.subnets[-1]}"], expected)


def calibrated(model, data):
    for name in model.backbone.subnets[:-1]:
        model.backbone.set_bn_statistics(name, calibrate_path(model.backbone, name, data.split(6)))
    return model.eval()


@pytest.mark.parametrize("switchable_bn", [None, "statistics"])
def test_validation_reports_every_network_as_its_static_twin_would_be(switchable_bn):
    model = build(dict(MOBILENET, switchable_bn=switchable_bn))
    names = model.networks = model.backbone.subnets
    optimiser = wrapper(model, lr=0.02)
    for step in range(3):
        model.train_step(batch(step), optimiser)
    if switchable_bn is None:
        model.eval()
        with pytest.raises(MissingStatisticsError, match=names[0]):
            model.val_step(batch(20))
        calibrated(model, random_images(24, 64))
    model.eval()
    metric = METRICS.build(dict(type="mmssl_dynamic.SubnetAccuracy", topk=(1, 3)))
    data = [batch(10), batch(11, count=5, shift=2)]
    with torch.no_grad():
        for part in data:
            metric.process(part, [s.to_dict() for s in model.val_step(copy.deepcopy(part))])
    found = metric.evaluate(13)
    assert list(found) == [f"{name}/top{k}" for name in names for k in (1, 3)]
    truth = torch.cat([s.gt_label for part in data for s in part["data_samples"]])
    inputs = torch.cat([part["inputs"] for part in data])
    weight, bias = model.head.fc.weight, model.head.fc.bias
    for name in names:
        twin = model.backbone.static(name).eval()
        with torch.no_grad():
            features = twin(inputs)[-1].mean((2, 3))
            scores = features @ weight[:, : features.shape[1]].T + bias
        hits = scores.topk(3).indices == truth[:, None]
        assert found[f"{name}/top1"] == pytest.approx(100 * float(hits[:, 0].float().mean()))
        assert found[f"{name}/top3"] == pytest.approx(100 * float(hits.any(1).float().mean()))


def test_predictions_without_labels_name_every_network():
    model = calibrated(build(), random_images(12, 64))
    with torch.no_grad():
        samples = model(random_images(2, 64), mode="predict")
    assert [list(s.subnet_scores) for s in samples] == [list(model.backbone.subnets)] * 2
    for sample in samples:
        assert torch.equal(sample.pred_score, sample.subnet_scores[model.backbone.subnets[-1]])
        assert float(sum(s.sum() for s in sample.subnet_scores.values())) == pytest.approx(4, rel=1e-5)


def test_accuracy_needs_predictions_of_networks_labels_and_enough_classes():
    score = torch.tensor([0.2, 0.5, 0.3])
    metric = SubnetAccuracy(topk=5)
    with pytest.raises(ConfigError, match="predictions of sub-networks"):
        metric.process(None, [dict(gt_label=torch.tensor([1]), pred_score=score)])
    with pytest.raises(ConfigError, match="no labels"):
        metric.process(None, [dict(subnet_scores=dict(a=score))])
    with pytest.raises(ConfigError, match="first 5 of 3"):
        metric.process(None, [dict(gt_label=torch.tensor([1]), subnet_scores=dict(a=score))])
    with pytest.raises(ConfigError, match="topk=0"):
        SubnetAccuracy(topk=0)


def test_training_starts_from_dspnets_weights_or_from_byols_on_the_largest_network(tmp_path):
    source = SlimmableMobileNetV3(arch="small", widths=(0.5, 0.75, 1.0))
    alone = SlimmableMobileNetV3(arch="small", widths=(1.0,))
    source.init_weights()
    alone.load_state_dict({**source.state_dict(), "switches": alone.switches})
    narrow = SlimmableMobileNetV3(arch="small", widths=(0.75,))
    states = dict(
        dspnet=source.state_dict(),
        byol=alone.state_dict(),
        plain=source.static("full").state_dict(),
        narrow=narrow.state_dict(),
    )
    for name, state in states.items():
        whole = {f"backbone.{key}": value for key, value in state.items()}
        torch.save(dict(state_dict={**whole, "neck.fc0.weight": torch.zeros(3)}), tmp_path / f"{name}.pth")
        init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / f"{name}.pth"), prefix="backbone.")
        if name == "narrow":
            with pytest.raises(ArtifactError, match=r"trained with the networks \[0\.75\]"):
                build(dict(MOBILENET, init_cfg=init_cfg))
            continue
        model = build(dict(MOBILENET, init_cfg=init_cfg))
        for key, value in source.state_dict().items():
            assert torch.equal(model.backbone.state_dict()[key], value), (name, key)
    whole = {f"backbone.{key}": value for key, value in alone.state_dict().items()}
    model = build(dict(MOBILENET))
    model.load_state_dict(whole, strict=False)  # as load_from does
    assert torch.equal(model.backbone.state_dict()["layer0.conv.weight"], source.state_dict()["layer0.conv.weight"])
    assert model.backbone.switches.tolist() == [0.5, 0.75, 1.0]


def test_backbones_and_heads_that_do_not_fit_are_named():
    for backbone in (dict(type="ResNet", depth=18), dict(MOBILENET, subnet="w0.5")):
        with pytest.raises(ConfigError, match="needs a super-network"):
            build(backbone)
    with pytest.raises(ConfigError, match="head.in_channels"):
        build(head=dict(in_channels=3))
