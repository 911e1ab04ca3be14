"""Necks that do not fit a sub-network are refused while the model is built, whatever the model is."""

import subprocess
import sys

import pytest
from torch import nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models import SDRResNet, SlimmableMobileNetV3, StaticResNet

SDR = dict(depth=18, stage_channels=(8, 8, 16, 16), stage_groups=(1, 1, 2, 2), stem_channels=4)


class Neck(nn.Module):
    """All that FPN and its kin have in common."""

    def __init__(self, in_channels):
        super().__init__()
        self.in_channels = in_channels


class Model(nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def backbone(**options):
    return SDRResNet(**SDR, **{"subnet": "0-0-1-0", "out_indices": (0, 1, 2, 3), **options})


def test_the_sentence_has_the_right_numbers_and_names_the_sub_network():
    with pytest.raises(ConfigError) as caught:
        Model(backbone=backbone(), neck=Neck([64, 128, 256, 512]))
    sentence = str(caught.value)
    assert "in_channels=[64, 128, 256, 512]" in sentence
    assert "SDRResNet '0-0-1-0'" in sentence
    assert "set in_channels=[8, 8, 12, 12]" in sentence


@pytest.mark.parametrize("order", [("neck", "backbone"), ("backbone", "neck")])
def test_it_does_not_matter_which_part_comes_first(order):
    parts = {"backbone": backbone(), "neck": Neck([1, 2, 3, 4])}
    with pytest.raises(ConfigError, match="does not fit"):
        Model(**{name: parts[name] for name in order})


def test_a_forgotten_out_indices_is_named():
    with pytest.raises(ConfigError, match=r"out_indices=\(3,\) gives \[12\]"):
        Model(backbone=backbone(out_indices=(3,)), neck=Neck([8, 8, 12, 12]))


def test_the_first_of_several_necks_counts():
    Model(backbone=backbone(), neck=nn.Sequential(Neck([8, 8, 12, 12]), Neck([256] * 4)))
    with pytest.raises(ConfigError, match="does not fit"):
        Model(backbone=backbone(), neck=nn.Sequential(Neck([256] * 4), Neck([8, 8, 12, 12])))


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(dict(neck=Neck((8, 8, 12, 12))), id="right numbers"),
        pytest.param(dict(neck=Neck([12, 12, 8, 8])), id="counted from the deepest"),
        pytest.param(dict(neck=Neck(12)), id="one number, which may be of any layer"),
        pytest.param(dict(neck=nn.Identity()), id="no numbers"),
        pytest.param(dict(side=Neck([1, 2])), id="no neck"),
        pytest.param(dict(neck=None), id="none"),
    ],
)
def test_models_that_can_be_right_are_left_alone(part):
    Model(backbone=backbone(), **part)


def test_modules_are_watched_only_while_there_is_a_network_to_watch_for(repo_root):
    code = (
        "import mmssl_dynamic.models, torch.nn.modules.module as module\n"
        "assert not module._global_module_registration_hooks, module._global_module_registration_hooks\n"
        "net = mmssl_dynamic.models.SDRResNet(18)\n"
        "assert not module._global_module_registration_hooks\n"
        "net = mmssl_dynamic.models.SDRResNet(18, subnet='0-0-0-0')\n"
        "assert len(module._global_module_registration_hooks) == 1\n"
        "del net\n"
        "assert not module._global_module_registration_hooks\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=repo_root)


def test_backbones_of_others_and_super_networks_are_left_alone():
    Model(backbone=nn.Identity(), neck=Neck([1]))
    Model(backbone=SDRResNet(**SDR), neck=Neck([1]))  # its channels are those of the moment


def test_plain_and_slimmable_backbones_are_checked_too():
    with pytest.raises(ConfigError, match="StaticResNet with"):
        Model(backbone=StaticResNet(18, (8, 8, 8, 8), out_indices=(2, 3)), neck=Neck([8, 16]))
    mobile = SlimmableMobileNetV3("small", (0.25, 0.5), subnet="w0.5", out_indices=(1, 3))
    with pytest.raises(ConfigError, match=r"SlimmableMobileNetV3 'w0.5' .* set in_channels=\[8, 16\]"):
        Model(backbone=mobile, neck=Neck([16, 24]))
