import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets import build_dataset, sample_names
from mmssl_dynamic.engine import launch
from mmssl_dynamic.engine.launch import TrainingOptions, build_runner, prepare_config
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError
from mmssl_dynamic.fileio import load_run_checkpoint, load_state_dict, read_json
from mmssl_dynamic.models import StaticResNet
from tests.helpers import write_clusters, write_images
from tests.tools.running import tool

CONFIG = """
_base_ = ["{root}/configs/demo/sdr_demo.py"]
data_root = "{data}"
clusters_file = "{clusters}"
stage_groups = (1, 1, 2, 2)
model = dict(
    backbone=dict(stage_groups=stage_groups, stage_channels=(8, 8, 16, 16), shared_ratio=0.5, stem_channels=8),
    neck=dict(hid_channels=16, out_channels=16),
    head=dict(predictor=dict(in_channels=16, hid_channels=8, out_channels=16)),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file, dataset=dict(data_root=data_root)),
)
extract_dataloader = dict(batch_size=8, num_workers=0, dataset=dict(data_root=data_root))
train_cfg = dict(max_epochs=4)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=4, by_epoch=True, begin=0, end=4)]
default_hooks = dict(
    checkpoint=dict(_delete_=True, type="CheckpointHook", by_epoch=False, interval=4), logger=dict(interval=5)
)
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=8, batch_size=8),
]
log_level = "WARNING"
"""

# A kill at a random moment: the process is gone, nothing is tidied up.
KILLER = """
import os, signal
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class KillHook(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 11:
            os.kill(os.getpid(), signal.SIGKILL)
"""


# Writes down what every process trained on and where it ended.
SPY = """
custom_hooks.append(dict(type="SpyHook", folder="{folder}"))
custom_imports = dict(imports=["tests.engine.spy_hook"])
"""


@pytest.fixture(scope="module")
def setup(tmp_path_factory, repo_root):
    folder = tmp_path_factory.mktemp("training")
    write_images(folder / "images", 50)
    names = sample_names(
        build_dataset(dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder / "images"), pipeline=[]))
    )
    write_clusters(folder / "clusters.npz", names, 4)
    config = folder / "config.py"
    config.write_text(CONFIG.format(root=repo_root, data=folder / "images", clusters=folder / "clusters.npz"))
    return folder


class Recorder(Hook):
    """Notes the predictor's learning rate of every update."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        rates = getattr(runner, "fixed_rates", set())
        groups = runner.optim_wrapper.optimizer.param_groups
        runner.fixed_rates = rates | {g["lr"] for g in groups if g.get("fix_lr")}


def train(folder, work_dir, resume=None, **options):
    config = prepare_config(folder / "config.py", work_dir=str(work_dir), resume=resume, cfg_options=options or None)
    config.experiment_name = Path(work_dir).name + str(resume)
    runner = build_runner(config)
    runner.register_hook(Recorder(), priority="LOWEST")
    runner.train()
    return runner


@pytest.fixture(scope="module")
def uninterrupted(setup):
    return train(setup, setup / "uninterrupted")


def test_training_writes_checkpoint_bank_and_collapse_report(setup, uninterrupted):
    work_dir = Path(uninterrupted.work_dir)
    assert uninterrupted.iter == 24  # 4 epochs of 50 // 8 steps
    state = load_state_dict(work_dir / "iter_24.pth")
    assert all(torch.isfinite(t).all() for t in state.values() if t.is_floating_point())
    assert (work_dir / "bn_bank.safetensors").is_file()
    health = read_json(work_dir / "collapse.json", "collapse report")
    assert "full" in health["health"]
    assert sum(health["steps"].values()) == 24


def test_training_killed_and_resumed_ends_with_the_weights_of_an_uninterrupted_run(setup, uninterrupted, repo_root):
    (setup / "kill_hook.py").write_text(KILLER)
    work_dir = setup / "killed"
    text = (
        (setup / "config.py")
        .read_text()
        .replace("images=8, batch_size=8),\n]", 'images=8, batch_size=8),\n    dict(type="KillHook"),\n]')
    )
    (setup / "killed.py").write_text(text + '\ncustom_imports = dict(imports=["kill_hook"])\n')
    command = [sys.executable, str(repo_root / "tools/train.py"), str(setup / "killed.py"), "--work-dir", str(work_dir)]
    # The number of threads decides the order of sums, and with it the last bits.
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=f"{setup}{os.pathsep}{repo_root}")
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGKILL, result.stderr[-2000:]
    assert sorted(p.name for p in work_dir.glob("*.pth")) == ["iter_4.pth", "iter_8.pth"]
    resumed = train(setup, work_dir, resume="auto")
    assert resumed.iter == 24
    assert_same_end(resumed, uninterrupted)
    assert read_json(work_dir / "collapse.json", "") == read_json(setup / "uninterrupted/collapse.json", "")


def test_a_checkpoint_of_an_epochs_last_step_resumes_with_the_next_epoch(setup, uninterrupted):
    checkpoint = Path(uninterrupted.work_dir) / "iter_12.pth"
    assert_same_end(train(setup, setup / "boundary", resume=str(checkpoint)), uninterrupted)


def assert_same_end(runner, reference):
    assert runner.iter == reference.iter == 24
    ours = runner.model.state_dict()
    for name, value in reference.model.state_dict().items():
        assert torch.equal(ours[name], value), name
    states = (r.optim_wrapper.optimizer.state for r in (runner, reference))
    for mine, other in zip(*(state.values() for state in states)):
        assert torch.equal(mine["momentum_buffer"], other["momentum_buffer"])


def test_loader_workers_do_not_change_the_result(setup, uninterrupted):
    runner = train(setup, setup / "workers", **{"train_dataloader.num_workers": 2})
    for name, value in uninterrupted.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[name], value), name


def test_the_predictors_learning_rate_stays_while_the_others_follow_the_schedule(uninterrupted):
    groups = uninterrupted.optim_wrapper.optimizer.param_groups
    rates = {bool(g.get("fix_lr")): g["lr"] for g in groups}
    assert set(rates) == {True, False}
    # In the last epoch the schedule has come down, and the hook has held the predictor's rate before the last update.
    assert uninterrupted.message_hub.get_scalar("train/lr").data[0][-1] < 0.01
    assert uninterrupted.fixed_rates == {0.05}


def test_resuming_never_executes_what_a_checkpoint_holds(setup, uninterrupted, tmp_path):
    checkpoint = torch.load(Path(uninterrupted.work_dir) / "iter_4.pth", weights_only=False)
    trap = tmp_path / "executed"
    checkpoint["meta"]["config"] = f"open({str(trap)!r}, 'w')\n"
    torch.save(checkpoint, tmp_path / "config_trap.pth")
    train(setup, tmp_path / "run", resume=str(tmp_path / "config_trap.pth"))
    assert not trap.exists()

    class Trap:
        def __reduce__(self):
            return open, (str(trap), "w")

    torch.save({**checkpoint, "extra": Trap()}, tmp_path / "pickle_trap.pth")
    for load in (load_run_checkpoint, load_state_dict):
        with pytest.raises(Exception, match="nsupported|safely|weights_only|Weights only"):
            load(tmp_path / "pickle_trap.pth")
    with pytest.raises(ArtifactError, match="pickle_trap.pth cannot be loaded safely"):
        train(setup, tmp_path / "run2", resume=str(tmp_path / "pickle_trap.pth"))
    assert not trap.exists()


def test_getattr_of_a_checkpoint_reaches_nothing_but_history_statistics(tmp_path):
    class Trap:
        def __reduce__(self):
            return getattr, (torch.Tensor, "__init__")

    torch.save({"state_dict": {"w": torch.zeros(1)}, "x": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ArtifactError, match="cannot be loaded safely"):
        load_state_dict(tmp_path / "trap.pth")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optim_wrapper.type": "OptimWrapper"}, "SubnetOptimWrapper"),
        ({"optim_wrapper.accumulative_counts": 2}, "repeats=1"),
        ({"custom_hooks.1.lengths": [1, 2]}, "3 numbers"),
        ({"extract_dataloader": None}, "extract_dataloader"),
    ],
)
def test_wrong_settings_stop_the_run_before_the_first_step(setup, tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        train(setup, tmp_path / "run", **options)
    assert not list((tmp_path / "run").glob("*.pth"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["model.backbone.depth=20"], "error: depth=20 is not available; choose one of [18, 34, 50, 101]."),
        (["data_root={bad}", "train_dataloader.num_workers=1"], "bad/class_0/0000.png"),
        (["clusters_file=nowhere.npz"], "nowhere.npz"),
        (["model.backbone.stage_chanels=[8,8,8,8]"], "stage_chanels"),
        (["optim_wrapper.optimizer.type=Foo"], "optim_wrapper.optimizer.type='Foo' is unknown"),
    ],
)
def test_bad_input_ends_the_command_in_one_sentence_that_names_it(
    setup, repo_root, tmp_path, capsys, options, sentence
):
    bad = write_images(tmp_path / "bad", 50)
    for name in ("class_0/0000.png", "class_1/0001.png"):  # whichever comes first
        (bad / name).write_bytes((bad / name).read_bytes()[:100])
        sentence = sentence if "bad/" not in sentence else "bad/class_"
    options = [option.format(bad=bad) for option in options]
    arguments = (setup / "config.py", "--work-dir", tmp_path / "run", "--cfg-options", *options)
    with pytest.raises(SystemExit) as end:
        tool(repo_root, "train", *arguments, device=())
    assert end.value.code == 2
    errors = capsys.readouterr().err
    last = errors.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert sentence in last
    assert "Traceback" not in errors
    assert not list((tmp_path / "run").glob("*.pth"))


def test_two_processes_go_on_where_one_was_stopped(setup, uninterrupted, repo_root, tmp_path):
    """The launcher of several GPUs, on the CPU: half the batch each, gradients averaged."""
    env = dict(os.environ, OMP_NUM_THREADS="1", PORT="29581", TORCHRUN=str(Path(sys.executable).parent / "torchrun"))
    env["PYTHONPATH"] = str(repo_root)
    text = (setup / "config.py").read_text() + SPY.format(folder=tmp_path)
    (tmp_path / "config.py").write_text(text)
    command = ["bash", str(repo_root / "tools/dist_train.sh"), str(tmp_path / "config.py"), "2"]
    command += ["--resume", str(Path(uninterrupted.work_dir) / "iter_8.pth")]
    command += ["--work-dir", str(tmp_path / "run"), "--cfg-options", "train_dataloader.batch_size=4"]
    command += ["randomness.diff_rank_seed=True"]  # the draws are shared all the same
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    one, two = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    sampler = uninterrupted.train_dataloader.batch_sampler
    assert one["subnets"] == two["subnets"] == [sampler.subnet_at(step) for step in range(8, 24)]
    assert len(set(one["subnets"])) > 2
    # Together they train on what the one process trained on.
    dataset = uninterrupted.train_dataloader.dataset
    names = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
    sampler.start_at(8)
    drawn = [names[draw.index] for _ in range(3) for batch in sampler for draw in batch]
    joint = [path for parts in zip(one["images"], two["images"]) for part in parts for path in part]
    assert joint == drawn
    trained = [name for name, value in one["weights"].items() if value.is_floating_point() and "running" not in name]
    assert trained
    for name in trained:
        assert torch.equal(one["weights"][name], two["weights"][name]), name
    assert (tmp_path / "run/bn_bank.safetensors").is_file()


def test_resuming_with_another_number_of_images_per_step_is_refused(setup, uninterrupted, tmp_path):
    checkpoint = str(Path(uninterrupted.work_dir) / "iter_8.pth")
    sentence = r"8 images per step, this run has 4; set train_dataloader.batch_size=8."
    with pytest.raises(ConfigError, match=sentence):
        train(setup, tmp_path / "run", resume=checkpoint, **{"train_dataloader.batch_size": 4})


def test_other_phases_than_those_that_were_trained_are_refused(setup, uninterrupted, tmp_path):
    checkpoint = str(Path(uninterrupted.work_dir) / "iter_12.pth")
    with pytest.raises(ConfigError, match="phases .* of max_epochs=4 then and max_epochs=6 now; set max_epochs=4"):
        train(setup, tmp_path / "run", resume=checkpoint, **{"train_cfg.max_epochs": 6})
    with pytest.raises(ConfigError, match="12 steps until the checkpoint .*: set the phases"):
        train(setup, tmp_path / "run", resume=checkpoint, **{"custom_hooks.1.lengths": [1, 2, 1]})


def test_other_clusters_are_refused_and_the_same_in_another_order_are_not(setup, uninterrupted, tmp_path):
    checkpoint, clusters = str(Path(uninterrupted.work_dir) / "iter_12.pth"), Clusters.load(setup / "clusters.npz")
    order = np.random.default_rng(0).permutation(len(clusters))
    names = [clusters.names[i] for i in order]
    for assignment, file in ((clusters.assignment[order], "same.npz"), (clusters.assignment, "other.npz")):
        Clusters(names, assignment, 4, "random").save(tmp_path / file)
    same = train(setup, tmp_path / "same", resume=checkpoint, clusters_file=str(tmp_path / "same.npz"))
    assert_same_end(same, uninterrupted)
    with pytest.raises(DataError, match="with 4 clusters .*, this run has 4 clusters .*; give the clusters_file"):
        train(setup, tmp_path / "other", resume=checkpoint, clusters_file=str(tmp_path / "other.npz"))


def test_resuming_without_a_checkpoint_starts_from_the_weights_of_the_config(setup, uninterrupted, tmp_path):
    weights = str(Path(uninterrupted.work_dir) / "iter_8.pth")
    options = {"load_from": weights, "train_cfg.max_epochs": 1}
    fresh = prepare_config(setup / "config.py", work_dir=str(tmp_path / "new"), resume="auto", cfg_options=options)
    assert (fresh.get("resume", False), fresh.load_from) == (False, weights)
    going = prepare_config(setup / "config.py", work_dir=uninterrupted.work_dir, resume="auto", cfg_options=options)
    assert (going.resume, going.load_from) == (True, None)


def test_a_training_that_started_from_a_plain_network_goes_on_when_its_file_is_gone(setup, tmp_path):
    """With W_0 in half of the steps; killed or not, it ends with the same weights."""
    torch.manual_seed(5)
    plain = StaticResNet(depth=18, stage_channels=(8, 8, 12, 12), stem_channels=8)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    options = {"init_from": str(tmp_path / "plain.pth"), "full_share": 0.5, "optim_wrapper.optimizer.lr": 1e-3}
    whole = train(setup, tmp_path / "whole", **options)
    # The first steps move the stem a little; random weights would be somewhere else.
    start = plain.conv1.weight.detach()
    early = load_state_dict(tmp_path / "whole" / "iter_4.pth")["backbone.conv1.weight"]
    assert float((early - start).norm() / start.norm()) < 0.2
    (tmp_path / "plain.pth").unlink()
    assert_same_end(train(setup, tmp_path / "more", resume=str(tmp_path / "whole" / "iter_12.pth"), **options), whole)
    with pytest.raises(ArtifactError, match="plain.pth does not exist"):
        train(setup, tmp_path / "new", **options)


def test_weights_alone_fit_any_number_of_images_per_step(setup, uninterrupted, tmp_path):
    options = {"train_dataloader.batch_size": 4, "train_cfg.max_epochs": 1}
    runner = train(setup, tmp_path / "run", load_from=str(Path(uninterrupted.work_dir) / "iter_8.pth"), **options)
    assert runner.iter == 12


def test_fewer_images_than_a_batch_train_nothing_and_say_so(repo_root, tmp_path):
    write_images(tmp_path / "few", 12)
    config = prepare_config(
        repo_root / "configs/demo/simsiam_demo.py",
        work_dir=str(tmp_path / "run"),
        cfg_options={"data_root": str(tmp_path / "few"), "train_dataloader.num_workers": 0},
    )
    with pytest.raises(DataError, match="12 images, fewer than a batch"):
        build_runner(config).train()
    config = prepare_config(
        repo_root / "configs/demo/simsiam_demo.py",
        work_dir=str(tmp_path / "run2"),
        cfg_options={"data_root": str(tmp_path / "nowhere")},
    )
    with pytest.raises(DataError, match="nowhere"):
        build_runner(config).train()


def test_subnets_trained_on_everything_are_calibrated_on_everything(setup, tmp_path):
    runner = train(
        setup,
        tmp_path / "full",
        **{"train_dataloader.dataset.subnet_data": "full", "train_cfg.max_epochs": 1, "custom_hooks.3.images": 40},
    )
    bank = BNBank.load(Path(runner.work_dir) / "bn_bank.safetensors")
    assert set(bank.meta["images"]["path"].values()) == {40}


def test_gradients_accumulate_over_steps_of_one_subnet(setup, tmp_path):
    runner = train(
        setup,
        tmp_path / "accumulate",
        **{
            "optim_wrapper.accumulative_counts": 2,
            "train_dataloader.batch_sampler.repeats": 2,
            "train_dataloader.batch_size": 4,
            "train_cfg.max_epochs": 1,
        },
    )
    assert runner.iter == 12


def test_channels_last_takes_the_same_steps_in_another_order(setup, uninterrupted, tmp_path):
    options = {"load_from": str(Path(uninterrupted.work_dir) / "iter_8.pth"), "train_cfg.max_epochs": 1}
    orders = []

    def note(module, inputs, output):
        if module.training:
            orders.append(output.is_contiguous(memory_format=torch.channels_last))

    losses = {}
    for last in (False, True):
        config = prepare_config(
            setup / "config.py",
            work_dir=str(tmp_path / f"{last}"),
            cfg_options=options,
            options=TrainingOptions(channels_last=last),
        )
        config.experiment_name = f"channels_last_{last}"
        runner = build_runner(config)
        if last:
            runner.model.backbone.layer3[0].conv1.register_forward_hook(note)
        runner.train()
        losses[last] = runner.message_hub.get_scalar("train/loss").data[0]
    assert orders
    assert all(orders)
    # Rounding grows from step to step, so the first ones are compared.
    assert losses[True][:3] == pytest.approx(losses[False][:3], abs=1e-4)
    assert len(set(losses[True][:3])) == 3


def test_amp_without_a_gpu_is_bf16_where_the_processor_has_it(setup, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(launch, "computes_in_bf16", lambda: True)
    for amp in (True, "auto", "bf16"):
        config = prepare_config(setup / "config.py", options=TrainingOptions(amp=amp))
        assert config.optim_wrapper.type == "mmssl_dynamic.SubnetBf16OptimWrapper"
        assert not {"dtype", "loss_scale"} & set(config.optim_wrapper)
    with pytest.raises(ConfigError, match="--amp fp16 needs a GPU.*use --amp bf16"):
        prepare_config(setup / "config.py", options=TrainingOptions(amp="fp16"))
    config.optim_wrapper.dtype = "float16"
    with pytest.raises(ConfigError, match=r"optim_wrapper.dtype='float16' needs a GPU.*has bfloat16 here"):
        prepare_config(config, options=TrainingOptions(amp=True))
    monkeypatch.setattr(launch, "computes_in_bf16", lambda: False)
    with pytest.raises(ConfigError, match="--amp needs a GPU, or a processor with instructions for bf16"):
        prepare_config(setup / "config.py", options=TrainingOptions(amp=True))


def test_a_training_in_bf16_goes_on_where_it_was_killed(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(launch, "computes_in_bf16", lambda: True)

    said = []

    def weights(work_dir, resume=None, amp=True):
        options = TrainingOptions(amp=amp)
        config = prepare_config(setup / "config.py", tmp_path / work_dir, resume=resume, options=options)
        config.experiment_name = f"bf16-{work_dir}"
        runner = build_runner(config)
        runner.logger.warning = said.append
        runner.train()
        return runner.model.state_dict()

    whole = weights("whole")
    rest = weights("rest", resume=tmp_path / "whole" / "iter_8.pth")
    assert whole.keys() == rest.keys()
    assert all(torch.equal(value, rest[key]) for key, value in whole.items())
    assert not any("precision" in line or "bfloat16" in line for line in said)
    # In other floats it is another training, which goes on and says so.
    weights("mixed", resume=tmp_path / "whole" / "iter_8.pth", amp=None)
    assert any("in bfloat16, and this one goes on in float32" in line for line in said)
    said.clear()
    weights("mixed_too", resume=tmp_path / "mixed" / "iter_20.pth")
    assert any("in float32, and this one goes on in bfloat16" in line for line in said)


def test_amp_scale_lr_and_data_root_reach_the_config(setup, repo_root, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    config = prepare_config(
        repo_root / "configs/sdr/sdr_simsiam_r50_256path.py",
        cfg_options=dict(data_root="/elsewhere", clusters_file="c.npz", max_epochs=100),
        options=TrainingOptions(amp=True, auto_scale_lr=True),
    )
    assert config.optim_wrapper.type == "mmssl_dynamic.SubnetAmpOptimWrapper"
    assert (config.optim_wrapper.dtype, config.optim_wrapper.loss_scale) == ("bfloat16", dict(enabled=False))
    for amp, supported, dtype in (("fp16", True, "float16"), ("auto", False, "float16"), ("bf16", False, "bfloat16")):
        # A card without bf16 emulates it.
        monkeypatch.setattr(
            torch.cuda,
            "is_bf16_supported",
            lambda including_emulation=True, found=supported: found or including_emulation,
        )
        other = prepare_config(setup / "config.py", options=TrainingOptions(amp=amp))
        assert other.optim_wrapper.dtype == dtype
        assert (other.optim_wrapper.loss_scale == "dynamic") == (dtype == "float16")
    # What a config names itself is not replaced by a guess, but by what the command line names.
    for amp, dtype in ((True, "float16"), ("bf16", "bfloat16")):
        own = dict(optim_wrapper=dict(dtype="float16"))
        other = prepare_config(setup / "config.py", cfg_options=own, options=TrainingOptions(amp=amp))
        assert other.optim_wrapper.dtype == dtype
    assert config.auto_scale_lr.enable
    assert config.train_dataloader.dataset.dataset.data_root == "/elsewhere"
    assert config.extract_dataloader.dataset.data_root == "/elsewhere"
    assert config.train_dataloader.dataset.clusters_file == "c.npz"
    with pytest.raises(ConfigError, match="does not exist"):
        prepare_config("nowhere.py")
