import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook

from mmssl_dynamic.engine import CheckpointHook
from mmssl_dynamic.engine.checkpoints import is_whole, look_through
from mmssl_dynamic.errors import DivergedError, OutputError
from mmssl_dynamic.fileio import load_run_checkpoint
from tests.engine.toy import ToySet, checkpoints, names, toy_runner


def test_the_runner_takes_it_for_mmengines(tmp_path):
    runner = toy_runner(tmp_path, default_hooks=None)
    assert [type(hook) for hook in runner.hooks if "Checkpoint" in type(hook).__name__] == [CheckpointHook]


@pytest.mark.parametrize("kept", [-1, 1, 2])
def test_so_many_are_kept_as_the_option_says(tmp_path, kept):
    runner = toy_runner(tmp_path / "run", checkpoint=dict(max_keep_ckpts=kept))
    runner.train()
    last = range(1, 5)[-kept if kept > 0 else 0 :]
    assert checkpoints(tmp_path / "run") == [f"epoch_{i}.pth" for i in last]
    assert (tmp_path / "run" / "last_checkpoint").read_text() == str(tmp_path / "run" / "epoch_4.pth")
    resumed = toy_runner(tmp_path / "run", max_epochs=6, resume=True, checkpoint=dict(max_keep_ckpts=1))
    resumed.train()
    assert checkpoints(tmp_path / "run")[-1] == "epoch_6.pth"
    assert len(checkpoints(tmp_path / "run")) == (1 if kept > 0 else 5)


# Killed at every moment at which mmengine or this package touches the disk for a checkpoint.
KILLED = """
import os, signal, sys
sys.path.insert(0, {root!r})
from mmengine.fileio import LocalBackend
from mmssl_dynamic.engine.hooks import checkpoint_hook
from tests.engine.toy import toy_runner

moment, epoch = {moment!r}, {epoch}
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def put(self, data, path):
    at_it = f"epoch_{{epoch}}" in str(path)
    with open(path, "wb") as file:
        file.write(data[: len(data) // 2] if at_it and moment == "half" else data)
    if at_it and moment in ("half", "before the name"):
        die()
LocalBackend.put = put
write_text, delete = checkpoint_hook.write_text, checkpoint_hook.CheckpointHook._delete
def pointer(path, text):
    if f"epoch_{{epoch}}" in text and moment == "before the pointer":
        die()
    write_text(path, text)
checkpoint_hook.write_text = pointer
def deletes(self, runner, steps):
    if steps == [epoch - 1] and moment == "before the old one goes":
        die()
    delete(self, runner, steps)
checkpoint_hook.CheckpointHook._delete = deletes
toy_runner({work_dir!r}, checkpoint=dict(max_keep_ckpts=1)).train()
"""


@pytest.mark.parametrize("epoch", [2, 4], ids=["in the middle", "at the end"])
@pytest.mark.parametrize("moment", ["half", "before the name", "before the pointer", "before the old one goes"])
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint_and_nothing_else_in_the_end(tmp_path, repo_root, moment, epoch):
    work_dir = tmp_path / "run"
    code = KILLED.format(root=str(repo_root), moment=moment, epoch=epoch, work_dir=str(work_dir))
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == -signal.SIGKILL, finished.stderr[-1000:]
    assert all(is_whole(work_dir / name) for name in checkpoints(work_dir))
    expected = f"epoch_{epoch - 1 if moment in ('half', 'before the name') else epoch}.pth"
    assert look_through(work_dir).newest == work_dir / expected
    runner = toy_runner(work_dir, resume=True, checkpoint=dict(max_keep_ckpts=1))
    runner.train()
    assert checkpoints(work_dir) == ["epoch_4.pth"]
    assert Path((work_dir / "last_checkpoint").read_text()) == work_dir / "epoch_4.pth"
    assert [entry.name for entry in work_dir.iterdir() if ".partial" in entry.name] == []
    straight = toy_runner(tmp_path / "straight")
    straight.train()
    for key, value in straight.model.state_dict().items():
        assert torch.equal(runner.model.state_dict()[key], value)


def test_a_full_disk_keeps_the_checkpoint_there_is(tmp_path, monkeypatch):
    put = LocalBackend.put

    def full(self, data, path):
        if "epoch_2" in str(path):
            put(self, data[:1000], path)
            raise OSError(28, "No space left on device")
        put(self, data, path)

    monkeypatch.setattr(LocalBackend, "put", full)
    with pytest.raises(OutputError, match=r"no room for .*epoch_2.pth: it takes .* KiB, and .* left"):
        toy_runner(tmp_path / "run", checkpoint=dict(max_keep_ckpts=1)).train()
    assert checkpoints(tmp_path / "run") == ["epoch_1.pth"]
    assert is_whole(tmp_path / "run" / "epoch_1.pth")


class Spoils(Hook):
    """Makes a weight infinite after the second epoch's last step, as an update that is far too long does."""

    priority = "VERY_HIGH"

    def after_train_epoch(self, runner):
        if runner.epoch == 1:
            next(runner.model.parameters()).data[0, 0] = float("inf")


def test_weights_that_are_not_finite_do_not_replace_a_good_checkpoint(tmp_path):
    with pytest.raises(DivergedError, match=r"'first.weight'.* no checkpoint was written"):
        toy_runner(tmp_path / "run", hooks=[Spoils()], checkpoint=dict(max_keep_ckpts=1)).train()
    assert checkpoints(tmp_path / "run") == ["epoch_1.pth"]


class Score(BaseMetric):
    """Rises until the third epoch."""

    scores = iter(())

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return {"score": next(self.scores)}


def validation(scores):
    metric = Score()
    metric.scores = iter(scores)
    loader = dict(dataset=ToySet(names(4)), batch_size=4, num_workers=0, sampler=dict(type="DefaultSampler"))
    return dict(val_dataloader=loader, val_cfg={}, val_evaluator=[metric])


def quiet_val(monkeypatch):
    from tests.engine.toy import ToyModel

    monkeypatch.setattr(ToyModel, "val_step", lambda self, data: [{}], raising=False)


BEST = dict(save_best="score", rule="greater", max_keep_ckpts=1)


def test_the_best_checkpoint_goes_only_when_the_better_one_is_written(tmp_path, monkeypatch):
    quiet_val(monkeypatch)
    put = LocalBackend.put
    seen = []

    def watch(self, data, path):
        seen.append(sorted(p.name for p in Path(path).parent.glob("best*.pth")))
        put(self, data, path)

    monkeypatch.setattr(LocalBackend, "put", watch)
    toy_runner(tmp_path / "run", checkpoint=BEST, **validation([1, 2, 3, 1])).train()
    assert checkpoints(tmp_path / "run") == ["best_score_epoch_3.pth", "epoch_4.pth"]
    assert [] not in seen[seen.index(["best_score_epoch_1.pth"]) :]


def test_the_best_checkpoint_of_a_folder_that_was_moved_is_the_one_in_it(tmp_path, monkeypatch):
    quiet_val(monkeypatch)
    toy_runner(tmp_path / "old" / "run", checkpoint=BEST, max_epochs=2, **validation([1, 2])).train()
    os.system(f"cp -r {tmp_path}/old {tmp_path}/new")
    toy_runner(tmp_path / "new" / "run", checkpoint=BEST, resume=True, **validation([3, 1])).train()
    assert checkpoints(tmp_path / "new" / "run") == ["best_score_epoch_3.pth", "epoch_4.pth"]
    assert checkpoints(tmp_path / "old" / "run") == ["best_score_epoch_2.pth", "epoch_2.pth"]


def test_published_checkpoints_hold_the_keys_that_are_asked_for(tmp_path):
    toy_runner(tmp_path / "run", checkpoint=dict(published_keys=["state_dict"])).train()
    published = next((tmp_path / "run").glob("epoch_4-????????.pth"))
    assert set(load_run_checkpoint(published)) == {"state_dict"}
