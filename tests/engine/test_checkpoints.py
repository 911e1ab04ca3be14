import shutil

import pytest
import torch
from mmengine.config import Config

from mmssl_dynamic.engine.checkpoints import checkpoint_files, find_checkpoints, go_on_if_begun, is_whole
from mmssl_dynamic.errors import ArtifactError
from tests.engine.toy import checkpoints, toy_runner


def write(path, steps):
    torch.save({"meta": {"epoch": 1, "iter": steps}, "state_dict": {"w": torch.arange(1000.0)}}, path)


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "cut":
        data = data[: len(data) // 2]
    elif how == "empty":
        data = b""
    else:  # blocks that a power failure lost; torch.load does not notice
        middle = len(data) // 2
        data[middle : middle + 200] = bytes(200)
    path.write_bytes(data)


@pytest.fixture
def folder(tmp_path):
    """Checkpoints whose names and times of writing say nothing of their order."""
    write(tmp_path / "epoch_2.pth", 20)
    write(tmp_path / "iter_30.pth", 30)
    write(tmp_path / "epoch_1.pth", 10)
    write(tmp_path / "best_acc_epoch_9.pth", 90)
    return tmp_path


@pytest.mark.parametrize("how", ["cut", "empty", "zeros"])
def test_the_newest_whole_one_is_found(folder, how):
    config = Config(dict(work_dir=str(folder)))
    assert find_checkpoints(config).newest == folder / "iter_30.pth"
    assert is_whole(folder / "iter_30.pth")
    damage(folder / "iter_30.pth", how)
    assert not is_whole(folder / "iter_30.pth")
    found = find_checkpoints(config)
    assert (found.newest, found.damaged) == (folder / "epoch_2.pth", (folder / "iter_30.pth",))


def test_a_pointer_to_another_folder_is_not_followed(folder, tmp_path_factory):
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(folder / "epoch_1.pth", copy)
    (copy / "last_checkpoint").write_text(str(folder / "iter_30.pth"))
    config = Config(dict(work_dir=str(copy), load_from="weights.pth"))
    assert find_checkpoints(config).newest == copy / "epoch_1.pth"
    go_on_if_begun(config)
    assert (config.resume, config.load_from) == (True, None)


def test_a_pointer_alone_is_no_checkpoint(tmp_path):
    (tmp_path / "last_checkpoint").write_text("")
    config = Config(dict(work_dir=str(tmp_path), load_from="weights.pth"))
    go_on_if_begun(config)
    assert (config.resume, config.load_from) == (False, "weights.pth")


def test_the_options_of_the_hook_say_where_they_are_and_what_they_are_called(tmp_path):
    (tmp_path / "big" / "run").mkdir(parents=True)
    write(tmp_path / "big" / "run" / "step-7.ckpt", 7)
    hook = dict(type="CheckpointHook", out_dir=str(tmp_path / "big"), filename_tmpl="step-{}.ckpt")
    config = Config(dict(work_dir=str(tmp_path / "run"), default_hooks=dict(checkpoint=hook)))
    assert checkpoint_files(config) == [tmp_path / "big" / "run" / "step-7.ckpt"]
    assert find_checkpoints(config).newest == tmp_path / "big" / "run" / "step-7.ckpt"


def weights(runner):
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    runner = toy_runner(tmp_path_factory.mktemp("straight") / "run")
    runner.train()
    return runner


def same(one, other):
    return all(torch.equal(one[key], other[key]) for key in other)


@pytest.mark.parametrize("how", ["cut", "zeros", None])
def test_a_folder_that_was_moved_is_resumed_from_its_newest_whole_checkpoint(straight, tmp_path, how):
    toy_runner(tmp_path / "first" / "run", max_epochs=4, hooks=[]).train()
    (tmp_path / "first").rename(tmp_path / "second")
    for name in ("epoch_3.pth", "epoch_4.pth"):
        if how is None:
            (tmp_path / "second" / "run" / name).unlink()
        else:
            damage(tmp_path / "second" / "run" / name, how)
    runner = toy_runner(tmp_path / "second" / "run", resume=True)
    said = []
    runner.logger.warning = said.append
    runner.train()
    assert same(weights(runner), weights(straight))
    assert not (tmp_path / "first").exists()
    expected = [] if how is None else ["epoch_3.pth, epoch_4.pth"]
    assert [line for line in said if "Not whole" in line] == [line for line in said if expected and expected[0] in line]
    assert all(is_whole(tmp_path / "second" / "run" / name) for name in checkpoints(tmp_path / "second" / "run"))


def test_where_none_is_whole_nothing_is_begun_on_top(tmp_path):
    toy_runner(tmp_path / "run", max_epochs=2).train()
    for name in ("epoch_1.pth", "epoch_2.pth"):
        damage(tmp_path / "run" / name, "cut")
    with pytest.raises(
        ArtifactError, match=r"none .* is whole \(epoch_1.pth, epoch_2.pth\); delete them to begin anew"
    ):
        toy_runner(tmp_path / "run", resume=True).train()


def test_a_damaged_checkpoint_that_is_named_names_the_newest_whole_one(tmp_path):
    toy_runner(tmp_path / "run", max_epochs=3).train()
    damage(tmp_path / "run" / "epoch_3.pth", "zeros")
    with pytest.raises(ArtifactError, match=r"epoch_3.pth is damaged.* --resume .*epoch_2.pth"):
        toy_runner(tmp_path / "run", resume=True, load_from=str(tmp_path / "run" / "epoch_3.pth")).train()


def test_resuming_in_an_empty_folder_begins(straight, tmp_path):
    runner = toy_runner(tmp_path / "run", resume=True)
    runner.train()
    assert same(weights(runner), weights(straight))
