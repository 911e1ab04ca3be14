"""mmpretrain's LARS under our configs: what it scales, what it leaves alone, and against You et al.'s Algorithm 1."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from mmssl_dynamic.loading import load_config
from mmssl_dynamic.models.elastic import active_regions
from tests.helpers import build_sdr, build_slimmable, randomise, views


@pytest.fixture(scope="module")
def setting(repo_root):
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    config = load_config(repo_root / "configs/dspnet/dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py")
    model = build_slimmable("DSPNet")
    wrapper_config = config.optim_wrapper.copy()
    wrapper_config["optimizer"] = dict(wrapper_config["optimizer"], type="mmpretrain.LARS")
    return config.optim_wrapper.optimizer, model, build_optim_wrapper(model, wrapper_config).optimizer


def test_norm_layers_and_biases_are_excluded_and_nothing_else(setting):
    options, model, optimizer = setting
    group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    excluded = set()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        group = group_of[id(parameter)]
        if group.get("lars_exclude"):
            excluded.add(name)
            assert group["weight_decay"] == 0
        else:
            assert group["weight_decay"] == options.weight_decay
    vectors = {n for n, p in model.named_parameters() if p.requires_grad and p.ndim == 1}
    assert excluded == vectors
    assert any("downsample.1" in name for name in excluded)


def test_updates_follow_the_algorithm(setting):
    options, model, optimizer = setting
    weight, bias = model.backbone.conv1.weight, model.neck.fc0.bias
    expected = {}
    velocity = {weight: torch.zeros_like(weight), bias: torch.zeros_like(bias)}
    for step in range(3):
        generator = torch.Generator().manual_seed(step)
        for p in (weight, bias):
            p.grad = torch.randn(p.shape, generator=generator)
        w, g = weight.detach(), weight.grad
        trust = 0.001 * w.norm() / (g.norm() + options.weight_decay * w.norm() + 1e-8)
        rate = options.lr
        velocity[weight] = 0.9 * velocity[weight] + trust * rate * (g + options.weight_decay * w)
        velocity[bias] = 0.9 * velocity[bias] + rate * bias.grad
        expected = {p: p.detach() - velocity[p] for p in (weight, bias)}
        optimizer.step()
        for p in (weight, bias):
            torch.testing.assert_close(p.detach(), expected[p])


PATH = "0-3-1-2"


class Features(torch.nn.Module):
    """A backbone and a loss of its features; as a super-network it says what a step trains."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def loss(self, images):
        return self.backbone(images)[-1].square().mean()


class PathFeatures(Features):
    trained_subnet = PATH

    def loss(self, images):
        with self.backbone.subnet(PATH):
            return super().loss(images)

    def trained_regions(self):
        with self.backbone.subnet(PATH):
            return active_regions(self.backbone)


def test_a_step_of_a_path_is_that_of_its_static_twin(repo_root):
    """Norms are those of the weights of the path; those of all groups would make its steps 1.6 times as long."""
    config = load_config(repo_root / "configs/sdr/sdr_byol_r50_256path_8xb64-coslr-400e_in1k.py").optim_wrapper.copy()
    config["optimizer"] = dict(config["optimizer"], type="mmpretrain.LARS", lr=0.5, weight_decay=0.01)
    net = randomise(build_sdr().backbone, [PATH])
    path, twin = PathFeatures(net), Features(net.static(PATH))
    before = {key: value.clone() for key, value in twin.backbone.state_dict().items()}
    assert config["type"] == "mmssl_dynamic.SubnetOptimWrapper"
    wrappers = [build_optim_wrapper(model, config) for model in (path, twin)]
    for seed in range(3):
        images = views(seed)[0]
        for model, wrapper in zip((path, twin), wrappers):
            model.train()
            with wrapper.optim_context(model):
                loss = model.loss(images)
            wrapper.update_params(loss)
    found = net.static(PATH).state_dict()
    for name, parameter in twin.backbone.named_parameters():
        moved = (parameter - before[name]).abs().max()
        assert moved > 0
        torch.testing.assert_close(found[name], parameter.detach(), rtol=0, atol=1e-4 * float(moved))
