import errno
import logging
import threading

import pytest
import torch
from torch import nn

from mmssl_dynamic.engine.explaining import check_fits, running, tell_of_full_logs
from mmssl_dynamic.errors import ArtifactError, ConfigError, OutputError
from tests.engine.toy import toy_runner
from tests.test_writing import largest_file


def prefixed(state, prefix):
    return {prefix + key: value for key, value in state.items()}


@pytest.fixture
def own():
    """Keys of a model with a backbone and a neck."""
    model = nn.Sequential()
    model.backbone, model.neck = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), nn.Linear(2, 2)
    return model.state_dict()


def test_one_weight_that_fits_is_enough_to_begin_with_and_not_to_go_on(own):
    part = {key: value for key, value in own.items() if key.startswith("neck")}
    check_fits(part, own, "a.pth", whole=False)
    check_fits(own, own, "a.pth", whole=True)
    with pytest.raises(ArtifactError, match="another model: for 'backbone.0.weight' it has nothing, .* shape"):
        check_fits(part, own, "a.pth", whole=True)
    with pytest.raises(ArtifactError, match="for 'extra' it has shape .* model nothing"):
        check_fits({**own, "extra": torch.zeros(2)}, own, "a.pth", whole=True)


def test_weights_that_fit_nowhere_are_refused_with_the_prefixes(own):
    with pytest.raises(ArtifactError, match="keys begin with 'encoder.', the model's with 'backbone.', 'neck.'"):
        check_fits(prefixed(own, "encoder."), own, "a.pth", whole=False)
    with pytest.raises(ArtifactError, match=r"no weight of the model's shapes: 'neck.weight' is \(9,\)"):
        check_fits({"neck.weight": torch.zeros(9)}, own, "a.pth", whole=False)


def fail(error):
    with running("/work"):
        raise error


def test_errors_of_a_run_that_its_user_can_mend_are_one_sentence():
    with pytest.raises(ConfigError, match="train_dataloader.batch_size"):
        fail(ValueError("Expected more than 1 value per channel when training, got input size [1, 8]"))
    with pytest.raises(OutputError, match="no room for /work/log.txt"):
        fail(OSError(errno.ENOSPC, "No space left on device", "/work/log.txt"))
    with pytest.raises(ZeroDivisionError):
        fail(ZeroDivisionError())


def test_a_log_that_cannot_grow_ends_the_run_in_one_sentence(tmp_path, capfd):
    logger = logging.Logger("test_explaining")
    handler = logging.FileHandler(tmp_path / "a.log")
    logger.addHandler(handler)
    tell_of_full_logs(logger)
    try:
        logger.warning("fits")
        with largest_file(2_000), pytest.raises(OutputError, match=r"no room for .*a\.log"):
            logger.warning("x" * 5_000)
        logger.warning("no %d", "number")  # what is no full disk is printed, as ever
    finally:
        handler.close()
    printed = capfd.readouterr().err
    assert "TypeError: %d format" in printed
    assert "OSError" not in printed
    assert (tmp_path / "a.log").read_text().startswith("fits\n")


def test_a_run_with_tensorboard_on_a_full_disk_ends_in_one_sentence(tmp_path, capfd):
    pytest.importorskip("tensorboard")
    backends = [dict(type="TensorboardVisBackend")]
    before = threading.excepthook
    runner = toy_runner(
        tmp_path / "run",
        max_epochs=60,
        default_hooks=dict(checkpoint=None, logger=dict(type="LoggerHook", interval=1)),
        visualizer=dict(type="Visualizer", vis_backends=backends),
    )
    with largest_file(6_000), pytest.raises(OutputError, match="no room for"):
        runner.train()
    assert threading.excepthook is before
    assert "Traceback" not in capfd.readouterr().err
