"""The command lines of detection, ours and mmdet's own, on the configs as they are, made small by options."""

import json
from pathlib import Path

import mmdet
import pytest
import torch

from mmssl_dynamic.fileio import load_run_checkpoint, load_state_dict
from tests.detection_data import as_arguments, run_script, small_options

pytestmark = pytest.mark.usefixtures("mmdet_scope", "quick_mmengine")
MMDET_TOOLS = Path(mmdet.__file__).parent / ".mim" / "tools"
STEPS = {
    "train_cfg.max_iters": 2,
    "train_cfg.val_interval": 100,
    "default_hooks.checkpoint.interval": 1,
    "optim_wrapper.optimizer.lr": 0.01,
    "param_scheduler.0.end": 2,
    "model.test_cfg.rcnn.score_thr": 0.0,  # two steps teach too little to be sure of anything
}


@pytest.fixture
def arguments(networks, shapes):
    """Config and options of the COCO config, which mmdet's own tools take as well."""
    network = networks["resnet"]
    options = {**small_options(network, shapes), **STEPS}
    root = options["data_root"]
    # What data_root does under our tools has to be said place by place under mmdet's.
    options |= {f"{split}_dataloader.dataset.data_root": root for split in ("train", "val", "test")}
    options |= {f"{split}_evaluator.ann_file": f"{root}annotations/instances_val2017.json" for split in ("val", "test")}
    path = Path(__file__).parents[2] / "configs" / "detection" / f"{network.config}.py"
    return str(path), ["--cfg-options", *as_arguments(options)]


def test_training_and_evaluation_by_our_tools(arguments, repo_root, tmp_path, capsys):
    config, options = arguments
    run, out = tmp_path / "run", tmp_path / "out"
    run_script(repo_root / "tools" / "train_det.py", config, "--work-dir", run, *options)
    assert load_run_checkpoint(run / "iter_2.pth")["meta"]["iter"] == 2
    capsys.readouterr()
    test = (repo_root / "tools" / "test_det.py", config, run / "iter_2.pth", "--work-dir", out)
    run_script(*test, "--show-dir", "drawn", "--pictures", 1, *options)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[-2:]] == ["boxes", "masks"]
    assert "AP75" in lines[-1]
    assert json.loads((out / "results.json").read_text())["AP"]
    assert len(list((out / "pictures").iterdir())) == 1
    assert len(list(out.glob("2*/drawn/*"))) == 4  # all test images, as mmdet's tool draws them
    for option, message in (
        ("test_evaluator.metric=proposal", "of which there is no AP"),
        ("test_dataloader.dataset.metainfo.classes=[car]", "the test set has 1 classes and the detector's roi_head"),
    ):
        with pytest.raises(SystemExit):
            run_script(*test, *options, option)
        assert message in capsys.readouterr().err


def test_mmdets_own_tools_train_resume_and_evaluate_the_same_configs(arguments, networks, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")  # which they set
    config, options = arguments
    run = tmp_path / "run"
    train = (MMDET_TOOLS / "train.py", config, "--work-dir", run)
    run_script(*train, *options, "train_cfg.max_iters=1")
    first = load_state_dict(run / "iter_1.pth")
    weights = load_state_dict(networks["resnet"].weights)
    assert {f"backbone.{key}" for key in weights} <= set(first)
    (run / "iter_1.pth").touch()
    run_script(*train, "--resume", *options)  # mmengine's own loading fails on its checkpoints since torch 2.6
    second = load_run_checkpoint(run / "iter_2.pth")
    assert second["meta"]["iter"] == 2
    assert any(not torch.equal(first[key], value) for key, value in second["state_dict"].items())
    run_script(MMDET_TOOLS / "test.py", config, run / "iter_2.pth", "--work-dir", tmp_path / "test", *options)
    (log,) = (tmp_path / "test").glob("*/*.json")
    assert "coco/segm_mAP" in json.loads(log.read_text())


def test_mmdets_own_tool_says_what_is_wrong_with_the_neck(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "0")
    config, options = arguments
    wrong = "model.neck.in_channels=[64,128,256,512]"
    with pytest.raises(ValueError, match=r"set in_channels=\[8, 8, 16, 16\]"):
        run_script(MMDET_TOOLS / "train.py", config, "--work-dir", tmp_path, *options, wrong)


@pytest.mark.parametrize("name", ["train_det", "test_det"])
def test_the_tools_explain_themselves_and_what_is_missing(name, repo_root, capsys):
    script = repo_root / "tools" / f"{name}.py"
    with pytest.raises(SystemExit) as stop:
        run_script(script, "--help")
    assert stop.value.code == 0
    assert "mmdet's own tools" in capsys.readouterr().out
    extra = ["none.pth"] if name == "test_det" else []
    with pytest.raises(SystemExit) as stop:
        run_script(script, "none.py", *extra)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: config none.py does not exist; check the path.\n"
