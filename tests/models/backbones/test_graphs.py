"""Compiled super-networks: one graph for all paths of the same shapes, and the bits of the uncompiled network.

With the backend "eager" PyTorch traces a graph and runs it as it stands, so that tracing is all that can go wrong.
"""

import pytest
import torch

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models import SDRResNet, SlimmableMobileNetV3
from mmssl_dynamic.models.backbones.graphs import Graphs
from mmssl_dynamic.models.elastic import BoundLayer
from mmssl_dynamic.subnets import FULL
from tests.helpers import MOCO_HEAD, MOCO_NECK, build_sdr, build_slimmable, samples, views

pytestmark = pytest.mark.usefixtures("dynamo")

PATHS = ("0-0-0-0", "0-0-0-3", "0-0-2-1", "3-1-2-0")
"""Of every phase, from the second one."""
PATH_WIDTHS = dict(type="mmssl_dynamic.SDRSlimmableResNet", widths=(0.5, 1.0))


def slimmable(**options):
    """Two networks."""
    return build_slimmable("DSPNet", channels=((8, 8, 8, 8), (8, 8, 8, 16)), blocks=[[1, 1, 1, 2]], **options)


def mobile():
    torch.manual_seed(0)
    return SlimmableMobileNetV3("small", widths=(0.5, 1.0), switchable_bn="all").train()


MODELS = {
    "SDR": build_sdr,
    "SDR in one direction": lambda: build_sdr(directions="alternate"),
    "SDR on BYOL": lambda: build_sdr(kind="SDRBYOL"),
    "SDR on MoCo-v2": lambda: build_sdr(kind="SDRMoCo", neck=MOCO_NECK, head=MOCO_HEAD, queue_len=16),
    "DSPNet": slimmable,
    "DSPNet with momentum BN": lambda: slimmable(target_bn="momentum"),
}


def compiled(model, backend="eager"):
    model.backbone.compile(backend=backend)
    if hasattr(model, "target_net"):
        model.target_net[0].compile(backend=backend)
    return model


def trained(model, steps):
    """Losses of steps of SGD, one for each name, and all weights and statistics after them."""
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.1), []
    model.first_view = 0
    for step, name in enumerate(steps):
        optimizer.zero_grad()
        found = model.loss(views(step), samples(name))
        losses.append(sum(value for key, value in found.items() if "loss" in key))
        losses[-1].backward()
        optimizer.step()
        if hasattr(model, "set_momentum_bn"):
            model.set_momentum_bn(1 - 0.1 * step)
        if hasattr(model, "update_target"):
            model.update_target(0.1)
    return torch.stack(losses).detach(), model.state_dict()


def assert_same(found, expected):
    assert torch.equal(found[0], expected[0])
    assert len(set(expected[0].tolist())) == len(expected[0])
    for key, value in expected[1].items():
        assert torch.equal(found[1][key], value), key


FAST = ("DSPNet with momentum BN",)


@pytest.mark.parametrize(
    "kind", [kind if kind in FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in MODELS]
)
def test_a_compiled_training_is_the_uncompiled_one_to_the_bit(kind):
    steps = (FULL, "3-1-2-0", "0-0-0-1") if kind.startswith("SDR") else (FULL, FULL)
    assert_same(trained(compiled(MODELS[kind]()), steps), trained(MODELS[kind](), steps))


def test_one_graph_serves_all_paths_of_all_phases():
    model = compiled(build_sdr())
    trained(model, (FULL, *PATHS, FULL))
    # Stem and stages each: those of W_0, those of a path; and the stages of W_0 as the teacher, without gradients.
    assert +model.backbone.graphs.made == {FULL: 3, PATHS[0]: 2}


def test_a_graph_for_each_width_and_depth_and_one_for_the_target():
    model = compiled(slimmable(target_bn="momentum"))
    trained(model, (FULL,) * 3)
    names = model.backbone.subnets
    assert +model.backbone.graphs.made == {names[0]: 1, FULL: 1}  # the largest one
    assert +model.target_net[0].graphs.made == {FULL: 1}
    assert len(model.backbone.shapes_of(names)) == len(names) == 2


@pytest.mark.slow
def test_paths_of_the_same_width_share_a_graph():
    model = compiled(build_sdr(network=PATH_WIDTHS))
    space = model.backbone.space
    names = [f"{path}@w0.5" for path in PATHS[1:]]
    assert len(model.backbone.shapes_of(space.names)) == 3
    expected = trained(build_sdr(network=PATH_WIDTHS), names)
    assert_same(trained(model, names), expected)
    assert model.backbone.graphs.made[names[0]] == 2
    assert sum(model.backbone.graphs.made[name] for name in names[1:]) == 0


@pytest.mark.parametrize("name", ["w0.5", pytest.param(FULL, marks=pytest.mark.slow)])
def test_a_mobilenet_with_switchable_batch_norm_gives_the_same_outputs_gradients_and_statistics(name):
    found = []
    for net in (mobile(), mobile()):
        if found:
            net.compile(backend="eager")
        with net.subnet(name):
            (out,) = net(views(0)[0])
        out.square().mean().backward()
        found.append([out, *(p.grad for p in net.parameters() if p.grad is not None), *net.buffers()])
    assert len(found[0]) == len(found[1]) > 100
    assert all(map(torch.equal, *found))
    assert sum(net.graphs.made.values()) == 1


def test_gradients_come_through_ahead_of_time_graphs_too():
    steps = ("0-0-0-1", "0-0-0-3")
    options = dict(distillation=None, stage_groups=(1, 1, 1, 4))
    model = compiled(build_sdr(**options), "aot_eager")
    found, expected = trained(model, steps), trained(build_sdr(**options), steps)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert +model.backbone.graphs.made == {steps[0]: 2}


def test_evaluation_is_not_compiled():
    model = compiled(build_sdr())
    model.backbone.eval()
    with model.backbone.subnet(FULL), torch.no_grad():
        model.backbone(views(0)[0])
    assert not model.backbone.graphs.made


def test_more_graphs_than_shapes_need_are_an_error_and_no_return_to_python(monkeypatch):
    net = build_sdr().backbone
    net.compile(backend="eager")
    monkeypatch.setattr(Graphs, "allowed", 2)
    net.stem(torch.zeros(2, 3, 32, 32))
    net.stem(torch.zeros(2, 3, 48, 48))
    with pytest.raises(
        ConfigError, match="SDRResNet took 2 graphs for sub-networks of 2 shapes; train on images of one"
    ):
        net.stem(torch.zeros(2, 3, 64, 64))


def test_a_backend_that_fails_is_named_in_one_sentence():
    def backend(graph, inputs):
        raise RuntimeError("no such card")

    net = build_sdr().backbone
    net.compile(backend=backend)
    with pytest.raises(ConfigError, match=r"SDRResNet cannot be compiled here \(.*no such card\); leave out --compile"):
        net(views(0)[0])
    assert all(layer.bound is None for layer in net.modules() if isinstance(layer, BoundLayer))


def test_what_cannot_be_compiled_is_refused():
    net = SDRResNet(18, stage_channels=(16, 16, 32, 32), stem_channels=8, with_cp=True)
    with pytest.raises(ConfigError, match="with_cp=True computes activations again"):
        net.compile()
    net = SlimmableMobileNetV3("small", widths=(0.5, 1.0), any_width=True)
    with pytest.raises(ConfigError, match="any_width=True draws a new width in every step"):
        net.compile()
