"""Fingerprints change with everything that changes a result, and with nothing else."""

import enum
import importlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from torch import nn

from mmssl_dynamic import fingerprints
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.fingerprints import (
    architecture_fingerprint,
    described,
    file_fingerprint,
    files_state,
    fingerprint,
    precision,
    running_statistics,
    statistics_fingerprint,
)
from mmssl_dynamic.models import SDRResNet
from tests.helpers import randomise


class Mode(enum.Enum):
    NEAR = 0
    FAR = 1


class Silent:
    """A transform whose repr says nothing of its parameters."""

    def __init__(self, size, **more):
        self.size = size
        self.__dict__.update(more)

    def __repr__(self):
        return "Silent()"


class Slotted:
    __slots__ = ("size",)

    def __init__(self, size):
        self.size = size


def power(exponent):
    return lambda x: x**exponent


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Silent(3), Silent(4)),
        (Silent(3), Slotted(3)),
        (Slotted(3), Slotted(4)),
        (Silent(3, inner=[Silent(1)]), Silent(3, inner=[Silent(2)])),
        (Silent(3, mode=Mode.NEAR), Silent(3, mode=Mode.FAR)),
        (np.arange(3), np.arange(3, dtype=float)),
        (np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2)),
        (torch.zeros(2), torch.ones(2)),
        (power(2), power(3)),
        (lambda x: x + 1, lambda x: x + 2),
        ({1, 2}, {1, 3}),
        ({1: "a"}, {"1": "a"}),
        (True, 1),
        (1, 1.0),
        (b"a", b"b"),
        (nn.Dropout(0.1), nn.Dropout(0.2)),
        (os.path.join, os.path.split),
    ],
)
def test_whatever_differs_in_its_state_has_another_fingerprint(one, other):
    assert fingerprint(one, "it") == fingerprint(one, "it")
    assert fingerprint(one, "it") != fingerprint(other, "it")


def test_equal_settings_have_the_same_fingerprint_whatever_holds_them():
    assert described((1, [2.5, None], {"b": np.int64(3), "a": "x"}), "it") == [1, [2.5, None], {"a": "x", "b": 3}]
    assert fingerprint({"a": 1, "b": 2}, "it") == fingerprint({"b": 2, "a": 1}, "it")
    assert fingerprint(Silent(3, at=power(2)), "it") == fingerprint(Silent(3, at=power(2)), "it")
    assert fingerprint({"x", "y", "z"}, "it") == fingerprint({"z", "y", "x"}, "it")
    assert fingerprint(np.arange(4)[::2], "it") == fingerprint(np.array([0, 2]), "it")


def test_an_object_that_holds_itself_ends():
    one, other = Silent(1), Silent(2)
    one.me, other.me = one, other
    assert fingerprint(one, "it") != fingerprint(other, "it")


def test_what_cannot_be_described_is_refused_by_name():
    with pytest.raises(ConfigError, match="the pipeline holds a lock, whose settings cannot be read"):
        fingerprint([Silent(1, guard=threading.Lock())], "the pipeline")


def test_a_fingerprint_is_the_same_in_another_process():
    code = (
        "from tests.test_fingerprints import *\n"
        "print(fingerprint([Silent(3, mode=Mode.FAR, at=power(2)), {'x', 'y', 'z'}, nn.Dropout(0.1)], 'it'))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    own = fingerprint([Silent(3, mode=Mode.FAR, at=power(2)), {"x", "y", "z"}, nn.Dropout(0.1)], "it")
    assert found == {f"{own}\n"}


def test_code_of_ones_own_counts_and_installed_code_does_not(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for number, size in enumerate((1, 2)):
        # The same class of the same module, edited between two runs.
        lines = ["class Crop:", "    def __call__(self, x):", f"        return x[:{size}]"]
        (tmp_path / "my_transforms.py").write_text("\n".join(lines))
        sys.modules.pop("my_transforms", None)
        importlib.invalidate_caches()
        fingerprints._own_code.cache_clear()
        found.append(fingerprint(importlib.import_module("my_transforms").Crop(), f"run {number}"))
    assert found[0] != found[1]
    assert described(nn.Dropout(0.1), "it")[1] == ["torch.nn.modules.dropout.Dropout"]
    assert described(SDRResNet, "it") == "mmssl_dynamic.models.backbones.sdr_resnet.SDRResNet"
    sys.modules.pop("my_transforms")


def test_a_sub_network_has_the_statistics_of_its_plain_twin():
    torch.manual_seed(0)
    net = randomise(SDRResNet(18, stage_channels=(8, 8, 8, 8), stage_groups=(1, 1, 1, 2), stem_channels=8))
    found = {name: statistics_fingerprint(net.bn_statistics(name)) for name in net.subnets}
    assert len(set(found.values())) == 3
    for name, own in found.items():
        assert statistics_fingerprint(running_statistics(net.static(name))) == own


def test_what_a_network_computes_with_the_same_weights_is_its_architecture():
    def net(stride=1, eps=1e-5, act=nn.ReLU):
        return nn.Sequential(nn.Conv2d(3, 4, 3, stride), nn.BatchNorm2d(4, eps), act())

    same = architecture_fingerprint(net())
    assert architecture_fingerprint(net().eval()) == same
    others = {architecture_fingerprint(other) for other in (net(2), net(eps=1e-3), net(act=nn.GELU))}
    assert len({same, *others}) == 4


def test_super_networks_of_the_same_layers_and_other_groups_are_others():
    options = dict(stage_channels=(8, 8, 8, 8), stem_channels=8)
    one, other = (SDRResNet(18, stage_groups=groups, **options) for groups in ((1, 1, 1, 2), (1, 1, 2, 1)))
    assert architecture_fingerprint(one) != architecture_fingerprint(other)


def test_precision_names_what_changes_more_than_the_last_bits(monkeypatch):
    assert precision("cpu") == "float32"
    with torch.autocast("cpu", torch.bfloat16):
        assert precision("cpu") == "float32, autocast to bfloat16"
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=True):
        assert precision("cuda:1") == "float32, convolutions in tf32"
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        assert precision("cuda") == "float32"


def test_the_state_of_a_file_is_its_size_and_time_and_an_address_has_neither(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(5000)]  # several chunks
    for number, file in enumerate(files):
        file.write_bytes(b"x" * (number % 7))
        os.utime(file, ns=(0, number))
    assert files_state(files) == [(str(i % 7), str(i)) for i in range(5000)]
    assert files_state(["s3://bucket/a.jpg"]) == [("address", "")]
    with pytest.raises(DataError, match=r"a\?.png'? is listed but not there|a.*png"):
        files_state([tmp_path / "a\n.png"])


def test_a_file_is_known_by_what_it_holds(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"one")
    assert file_fingerprint(tmp_path / "a") == file_fingerprint(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"two")
    assert file_fingerprint(tmp_path / "a") != file_fingerprint(tmp_path / "b")
