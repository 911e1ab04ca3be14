import pytest
import torch

from mmssl_dynamic.engine import Runner
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError
from tests.engine.toy import Rates, ToyModel, names, toy_runner

COSINE = lambda epochs: [dict(type="CosineAnnealingLR", T_max=epochs, by_epoch=True, begin=0, end=epochs)]  # noqa: E731
WARM = lambda epochs: [  # noqa: E731
    dict(type="LinearLR", start_factor=0.01, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=1, end=epochs, convert_to_iter_based=True),
]
STEPS = lambda epochs: [dict(type="MultiStepLR", milestones=[epochs - 1], by_epoch=True)]  # noqa: E731


def run(work_dir, schedule, epochs, **options):
    rates = Rates()
    runner = toy_runner(work_dir, max_epochs=epochs, param_scheduler=schedule(epochs), hooks=[rates.hook()], **options)
    said = []
    runner.logger.warning = said.append
    runner.train()
    return runner, rates.seen, said


GROUPS = dict(
    optimizer=dict(type="SGD", lr=0.05, momentum=0.9, weight_decay=1e-3),
    paramwise_cfg=dict(custom_keys={"first": dict(lr_mult=0.1)}, bias_decay_mult=0.0),
)


@pytest.mark.parametrize("wrapper", [None, GROUPS])
@pytest.mark.parametrize("schedule", [COSINE, WARM, STEPS])
@pytest.mark.parametrize(("stopped", "resumable"), [("epoch_2", False), ("iter_6", False), ("iter_6", True)])
def test_a_longer_training_has_the_schedule_it_would_have_had(tmp_path, schedule, wrapper, stopped, resumable):
    options = {"resumable": resumable} if wrapper is None else {"resumable": resumable, "optim_wrapper": wrapper}
    if stopped == "iter_6":
        options["default_hooks"] = dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2))
    run(tmp_path / "short", schedule, 3, **options)
    _, straight, _ = run(tmp_path / "straight", schedule, 6, **options)
    source = str(tmp_path / "short" / f"{stopped}.pth")
    runner, resumed, said = run(tmp_path / "longer", schedule, 6, resume=True, load_from=source, **options)
    done = 8 if stopped == "epoch_2" else 6 if resumable else 4  # a plain loader begins its epoch again
    assert runner.iter == 24
    assert resumed == straight[done:]
    assert any("differs" in line and "3 -> 6" in line or "12 -> 24" in line or "2 -> 5" in line for line in said)


def test_an_unchanged_training_goes_on_to_the_bit_and_says_nothing(tmp_path):
    straight, _, _ = run(tmp_path / "straight", WARM, 4)
    source = str(tmp_path / "straight" / "epoch_2.pth")
    resumed, _, said = run(tmp_path / "resumed", WARM, 4, resume=True, load_from=source)
    assert said == []
    for key, value in straight.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value)


def test_the_config_of_a_training_that_begins_lies_beside_its_checkpoints(tmp_path):
    toy_runner(tmp_path / "first").train()
    assert len(list((tmp_path / "first").glob("*.py"))) == 1


def test_learning_rate_and_weight_decay_of_the_config_count_and_are_named(tmp_path):
    run(tmp_path / "first", COSINE, 4)
    source = str(tmp_path / "first" / "epoch_2.pth")
    new = dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.8, weight_decay=0.5))
    _, straight, _ = run(tmp_path / "straight", COSINE, 4, optim_wrapper=new)
    runner, resumed, said = run(tmp_path / "resumed", COSINE, 4, optim_wrapper=new, resume=True, load_from=source)
    group = runner.optim_wrapper.optimizer.param_groups[0]
    assert (group["weight_decay"], group["momentum"]) == (0.5, 0.8)
    assert resumed == straight[8:]
    line = next(line for line in said if "differs" in line)
    for change in ("lr 0.05 -> 0.01", "weight_decay 0.001 -> 0.5", "momentum 0.9 -> 0.8"):
        assert change in line
    assert runner.optim_wrapper.optimizer.state  # momentum buffers went along


def test_a_schedule_that_is_new_is_followed_from_the_beginning(tmp_path):
    run(tmp_path / "first", COSINE, 4)
    source = str(tmp_path / "first" / "epoch_2.pth")
    _, straight, _ = run(tmp_path / "straight", WARM, 4)
    _, resumed, said = run(tmp_path / "resumed", WARM, 4, resume=True, load_from=source)
    assert resumed == straight[8:]
    assert any("number of schedules 1 -> 2" in line for line in said)


def refused(tmp_path, error, match, **options):
    if not (tmp_path / "first").exists():
        toy_runner(tmp_path / "first").train()
    options = {"load_from": str(tmp_path / "first" / "epoch_2.pth"), **options}
    with pytest.raises(error, match=match):
        toy_runner(tmp_path / "other", resume=True, **options).train()
    assert not list((tmp_path / "other").glob("*.py"))  # the config of what is there stays


def optim(kind="SGD", **options):
    return dict(optim_wrapper=dict(optimizer=dict(type=kind, lr=0.1), **options))


SHAPES = r"another model: for 'first.weight' it has shape \(8, 8\), this config's model shape \(5, 8\)"
OTHER = "16 images, this run has 20, and 0 % of all these are in both"


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ConfigError, "after epoch 2, and max_epochs=1 ends", dict(max_epochs=1)),
        (ConfigError, "written with SGD as its optimiser, this run has AdamW", optim("AdamW")),
        (ConfigError, "written with 1 passes per update, this run has 2", optim(accumulative_counts=2)),
        (ConfigError, "optimiser of .* does not fit", dict(optim_wrapper=GROUPS)),
        (ConfigError, "randomness.seed=0, this run has 1; set it to 0", dict(randomness=dict(seed=1))),
        (ArtifactError, SHAPES, dict(model=ToyModel(5))),
        (DataError, OTHER, dict(images=names(20, 100))),
    ],
)
def test_what_no_training_can_go_on_with_is_refused_with_both_values(tmp_path, error, match, options):
    refused(tmp_path, error, match, **options)


def test_a_schedule_by_what_was_measured_cannot_be_another_one(tmp_path):
    plateau = lambda factor: [dict(type="ReduceOnPlateauLR", monitor="loss", factor=factor, by_epoch=True)]  # noqa: E731
    toy_runner(tmp_path / "first", param_scheduler=plateau(0.1)).train()
    refused(tmp_path, ConfigError, "factor was 0.1 and is 0.5", param_scheduler=plateau(0.5))


def test_weights_alone_are_no_training(tmp_path):
    torch.save({"state_dict": ToyModel().state_dict()}, tmp_path / "weights.pth")
    with pytest.raises(ArtifactError, match="no state of a training.*load_from="):
        toy_runner(tmp_path / "run", resume=True, load_from=str(tmp_path / "weights.pth")).train()


@pytest.mark.parametrize("resumable", [True, False])
@pytest.mark.parametrize("new", [names(12), names(24)])
def test_with_images_removed_or_added_the_epochs_that_are_left_are_trained(tmp_path, new, resumable):
    toy_runner(tmp_path / "first", resumable=resumable).train()
    source = str(tmp_path / "first" / "epoch_2.pth")
    runner = toy_runner(tmp_path / "other", images=new, resumable=resumable, resume=True, load_from=source)
    said = []
    runner.logger.warning = said.append
    runner.train()
    assert (runner.epoch, runner.iter) == (4, len(new))  # batches of 4 images, 4 epochs
    assert any(f"written with 16 images, this run has {len(new)}" in line for line in said)


def test_within_an_epoch_other_images_are_refused(tmp_path):
    hooks = dict(checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2))
    toy_runner(tmp_path / "first", default_hooks=hooks, resumable=True).train()
    options = dict(images=names(12), resumable=True)
    refused(tmp_path, DataError, "within an epoch", load_from=str(tmp_path / "first" / "iter_6.pth"), **options)
    # Written by an epoch's last step, of which nothing is left.
    source = str(tmp_path / "first" / "iter_8.pth")
    runner = toy_runner(tmp_path / "other", resume=True, load_from=source, **options)
    runner.train()
    assert (runner.epoch, runner.iter) == (4, 12)


def test_without_a_seed_a_training_takes_that_of_its_checkpoint(tmp_path):
    straight = toy_runner(tmp_path / "run", randomness=dict(seed=None))
    straight.train()
    resumed = toy_runner(
        tmp_path / "other", randomness=dict(seed=None), resume=True, load_from=str(tmp_path / "run" / "epoch_2.pth")
    )
    resumed.train()
    assert resumed.seed == straight.seed
    for key, value in straight.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[key], value)


def test_mmengines_way_of_asking_is_served_too(tmp_path):
    toy_runner(tmp_path / "run", max_epochs=2).train()
    runner = toy_runner(tmp_path / "run", resume=True)
    assert isinstance(runner, Runner)
    runner.train()
    assert runner.iter == 16
