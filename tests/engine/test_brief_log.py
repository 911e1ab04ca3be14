import logging
from contextlib import suppress
from pathlib import Path

import pytest
from mmengine.config import Config

from mmssl_dynamic.engine.brief_log import initialization_log, keep_brief
from mmssl_dynamic.engine.launch import build_runner, prepare_config
from tests.helpers import write_images

SMALL = {
    "max_epochs": 1,
    "train_dataloader.batch_size": 4,
    "train_dataloader.num_workers": 0,
    "model.backbone.base_channels": 8,
    "model.backbone.stem_channels": 8,
    "model.neck.in_channels": 64,
    "default_hooks.logger.interval": 1,
    "image_size": 16,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory, repo_root):
    """The folder of a training of two steps."""
    folder = tmp_path_factory.mktemp("log")
    options = {**SMALL, "data_root": str(write_images(folder / "images", 8, size=16))}
    config = prepare_config(repo_root / "configs/demo/simsiam_demo.py", str(folder / "run"), cfg_options=options)
    build_runner(config).train()
    return folder / "run"


def test_a_short_run_has_a_short_log_with_every_step_and_the_place_of_the_config(run):
    (log,) = run.glob("*/2*.log")
    lines = log.read_text().splitlines()
    assert len(lines) < 40
    assert sum("Epoch(train)" in line for line in lines) == 2
    assert any(line.endswith(f"Config: {run / 'simsiam_demo.py'}") for line in lines)
    assert "max_epochs" not in log.read_text()
    assert "FixedPredictorLrHook, " in log.read_text()
    assert "PyTorch: " in log.read_text()
    for text in ("FileClient", "HardDiskBackend", "paramwise_options"):
        assert text not in log.read_text()


def test_the_config_and_where_the_weights_are_from_have_files_of_their_own(run):
    assert Config.fromfile(run / "simsiam_demo.py").max_epochs == 1
    (log,) = run.glob("*/initialization.log")
    assert "backbone.conv1.weight - torch.Size([8, 3, 7, 7]):" in log.read_text()


def test_messages_that_are_not_about_every_run_stay(caplog):
    logger = logging.getLogger("test_brief_log")
    keep_brief(logger)
    keep_brief(logger)
    assert len(logger.filters) == 1
    with caplog.at_level(logging.INFO):
        logger.info('"FileClient" will be deprecated in future. Please use ...')
        logger.info("paramwise_options -- backbone.conv1.weight:lr=0.1")
        logger.warning("the loss is NaN")
    assert caplog.messages == ["the loss is NaN"]


def test_a_logger_gets_its_file_back_after_an_error(tmp_path):
    logger = logging.getLogger("test_brief_log_file")
    handler = logging.FileHandler(tmp_path / "main.log")
    logger.addHandler(handler)
    try:
        with suppress(ValueError), initialization_log(logger, tmp_path / "own.log"):
            logger.warning("inside")
            raise ValueError
        logger.warning("outside")
    finally:
        logger.removeHandler(handler)
        handler.close()
    assert Path(tmp_path / "own.log").read_text() == "inside\n"
    assert Path(tmp_path / "main.log").read_text() == "outside\n"
