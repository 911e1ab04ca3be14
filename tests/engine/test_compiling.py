"""``--compile``: trainings by compiled backbones, and what is said where that cannot be."""

import pytest
import torch
import torch._inductor.config as inductor_config
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn

from mmssl_dynamic.datasets import build_dataset, sample_names
from mmssl_dynamic.engine.compiling import compile_backbones, compile_options
from mmssl_dynamic.engine.launch import TrainingOptions, build_runner, prepare_config
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.subnets import FULL
from tests.engine.test_dspnet_training import CONFIG as DSPNET
from tests.engine.test_training import CONFIG as SDR
from tests.helpers import write_clusters, write_images


@pytest.fixture(scope="module")
def folder(tmp_path_factory, repo_root):
    folder = tmp_path_factory.mktemp("compiling")
    images = write_images(folder / "images", 16)
    names = sample_names(build_dataset(dict(type="mmssl_dynamic.ImageFolder", data_root=str(images), pipeline=[])))
    write_clusters(folder / "clusters.npz", names, 2)
    for name, text in (("SDR", SDR.replace("(1, 1, 2, 2)", "(1, 1, 1, 2)")), ("DSPNet", DSPNET)):
        places = dict(root=repo_root, data=images, clusters=folder / "clusters.npz")
        (folder / f"{name}.py").write_text(text.format(**places))
    return folder


def first_losses(folder, kind, tmp_path, compile):
    """Losses of the first two steps, and the model."""
    config = prepare_config(
        folder / f"{kind}.py",
        tmp_path / f"{compile}",
        cfg_options={"compile": dict(backend="eager")} if compile else {},
        options=TrainingOptions(compile=compile),
    )
    hooks = [hook for hook in config.custom_hooks if "Bank" not in hook.type]
    config.update(custom_hooks=hooks, experiment_name=f"{kind}{compile}")
    config.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=2)
    config.default_hooks.checkpoint.interval = 100
    runner = build_runner(config)
    runner.train()
    return runner.message_hub.get_scalar("train/loss").data[0][:2].tolist(), runner.model


@pytest.mark.parametrize("kind", ["SDR", "DSPNet"])
def test_a_training_by_compiled_backbones_has_the_same_losses(dynamo, folder, tmp_path, kind):
    expected, _ = first_losses(folder, kind, tmp_path, False)
    found, model = first_losses(folder, kind, tmp_path, True)
    assert len(expected) == len(set(expected)) == 2
    assert found == expected
    assert model.backbone.graphs.made[FULL] > 0
    if kind == "DSPNet":
        assert +model.target_net[0].graphs.made == {FULL: 1}


def test_the_option_keeps_how_the_config_compiles(folder):
    options = TrainingOptions(compile=True)
    config = prepare_config(folder / "SDR.py", cfg_options={"compile": dict(backend="eager")}, options=options)
    assert config.compile == dict(backend="eager")
    assert prepare_config(folder / "SDR.py").get("compile") is None


def test_values_of_the_option():
    assert compile_options(None) is compile_options(False) is None
    assert compile_options(dict(backend="eager", dynamic=True)) == dict(backend="eager", dynamic=True)
    with pytest.raises(ConfigError, match="compile=3 must be True, False, or options of torch.compile"):
        compile_options(3)
    with pytest.raises(ConfigError, match="compile.backend='inductr' is not known; .*'inductor'"):
        compile_options(dict(backend="inductr"))
    for wrong, reason in (
        (dict(mode="max-speed"), "Unrecognized mode=max-speed"),
        (dict(backend="eager", modus="default"), "unexpected keyword argument 'modus'"),
        (dict(options=3), "'int' object has no attribute 'items'"),
    ):
        with pytest.raises(ConfigError, match=f"nothing that torch.compile takes .*{reason}.*correct it in the config"):
            compile_options(wrong)


def test_a_machine_that_cannot_compile_says_what_it_lacks(folder, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    # monkeypatch would take the value back by hiding it for good
    without = inductor_config.patch({"cpp.cxx": ("no-such-compiler",)})
    cannot = r"--compile cannot work here: there is no C\+\+ compiler .*; leave it out"
    with without, pytest.raises(ConfigError, match=cannot):
        prepare_config(folder / "SDR.py", options=TrainingOptions(compile=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: False)
    with pytest.raises(ConfigError, match="torch finds no Triton"):
        compile_options(True)
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: True)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ConfigError, match="there is no C compiler, which Triton needs"):
        compile_options(True)
    monkeypatch.setattr("torch._dynamo.is_dynamo_supported", lambda: False)
    with pytest.raises(ConfigError, match="does not support this version of Python"):
        compile_options(dict(backend="eager"))


def test_other_backbones_are_compiled_by_torch_with_those_of_their_targets(dynamo):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = MMENGINE_MODELS.build(dict(type="mmpretrain.ResNet", depth=18, base_channels=8))
            self.target_net = nn.Sequential(MMENGINE_MODELS.build(dict(type="mmpretrain.ResNet", depth=18)))

    model = Model()
    compile_backbones(model, dict(backend="eager"))
    assert model.backbone._compiled_call_impl is not None
    assert model.target_net[0]._compiled_call_impl is not None
    with pytest.raises(ConfigError, match="Linear has no backbone to compile"):
        compile_backbones(nn.Linear(1, 1), {})
