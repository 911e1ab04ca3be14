"""No checkpoint executes code, whichever part of a model loads it and whatever the surroundings ask of torch."""

import os

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.safe_loading import safe_loading
from tests.helpers import write_images


class Program:
    """Leaves a trace when it is run."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (str(self.trace), "w")


class Loader(torch.nn.Linear):
    """A foreign layer that loads with everything switched off."""

    def __init__(self, checkpoint):
        super().__init__(1, 1)
        torch.load(checkpoint, weights_only=False)


@pytest.fixture(params=[True, False], ids=["zip", "old"])
def evil(request, tmp_path, monkeypatch):
    """A checkpoint with a program in it, where torch was told to run such programs."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    state = {"state_dict": {"weight": torch.zeros(1)}, "x": Program(trace)}
    torch.save(state, path, _use_new_zipfile_serialization=request.param)
    yield path
    assert not trace.exists()


def test_without_it_the_program_runs(tmp_path, monkeypatch):
    """Or the other tests would show nothing."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"x": Program(tmp_path / "trace")}, tmp_path / "evil.pth")
    CheckpointLoader.load_checkpoint(str(tmp_path / "evil.pth"), "cpu")
    assert (tmp_path / "trace").exists()


def test_mmengine_and_torch_refuse_the_program(evil):
    with safe_loading():
        with pytest.raises(ArtifactError, match=r"evil\.pth cannot be loaded safely: it holds the object \w*io\.open"):
            load_checkpoint(torch.nn.Linear(1, 1), str(evil))
        with pytest.raises(Exception, match="weights_only"):
            torch.load(evil, weights_only=False)


def test_what_was_set_before_is_set_again(evil):
    schemes = CheckpointLoader._schemes
    with safe_loading():
        assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
        assert CheckpointLoader._schemes is not schemes
    with pytest.raises(ArtifactError), safe_loading():
        load_checkpoint(torch.nn.Linear(1, 1), str(evil))
    assert CheckpointLoader._schemes is schemes
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


def test_good_files_load_and_bad_addresses_are_one_sentence(tmp_path):
    layer = BaseModule(init_cfg=dict(type="Pretrained", checkpoint=str(tmp_path / "w.pth")))
    layer.fc = torch.nn.Linear(2, 1)
    wanted = {"fc.weight": torch.tensor([[1.0, 2.0]]), "fc.bias": torch.tensor([3.0])}
    torch.save({"state_dict": wanted}, tmp_path / "w.pth")
    save_file(wanted, tmp_path / "w.safetensors")
    with safe_loading():
        layer.init_weights()
        assert torch.equal(layer.fc.bias, wanted["fc.bias"])
        found = CheckpointLoader.load_checkpoint(str(tmp_path / "w.safetensors"), "cpu")
        assert torch.equal(found["state_dict"]["fc.weight"], wanted["fc.weight"])
        with pytest.raises(ArtifactError, match=r"checkpoint https?://.* cannot be loaded \(.*\); download it"):
            CheckpointLoader.load_checkpoint("http://127.0.0.1:9/w.pth", "cpu")
        with pytest.raises(ArtifactError, match="does not exist"):
            CheckpointLoader.load_checkpoint(str(tmp_path / "none.pth"), "cpu")


@pytest.mark.parametrize("evil", [True], indirect=True, ids=["zip"])
@pytest.mark.parametrize("place", ["neck", "head.predictor", "backbone", "constructor"])
def test_a_training_refuses_the_program_wherever_its_config_names_it(evil, tmp_path, repo_root, monkeypatch, place):
    write_images(tmp_path / "images", 16)
    config = prepare_config(
        repo_root / "configs/demo/simsiam_demo.py",
        work_dir=str(tmp_path / "run"),
        cfg_options={"data_root": str(tmp_path / "images"), "train_dataloader.batch_size": 8, "log_level": "ERROR"},
    )
    if place == "constructor":
        monkeypatch.setitem(MODELS.module_dict, "LoaderForTest", Loader)
        config.model.neck = dict(type="mmssl_dynamic.LoaderForTest", checkpoint=str(evil))
    else:
        node = config.model
        for key in place.split("."):
            node = node[key]
        node.init_cfg = dict(type="Pretrained", checkpoint=str(evil))
    message = "loads a file by itself that holds more" if place == "constructor" else r"evil\.pth .*io\.open"
    with pytest.raises(ArtifactError, match=message):
        build_runner(config).train()
    assert not list((tmp_path / "run").rglob("*.pth"))


def test_a_runner_that_executes_checkpoints_is_refused(repo_root):
    config = prepare_config(repo_root / "configs/demo/simsiam_demo.py", cfg_options={"runner_type": "Runner"})
    with pytest.raises(ConfigError, match="runner_type='Runner' executes what checkpoints hold"):
        build_runner(config)
