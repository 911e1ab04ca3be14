"""A training says how far it is: a bar on a terminal, lines in a log, and each figure once."""

import io
import re
import sys

import pytest

from mmssl_dynamic.engine.hooks import ProgressHook
from mmssl_dynamic.engine.hooks import progress_hook as module
from tests.engine.toy import toy_runner


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """Called inside the test: pytest puts its own stream there when a test begins."""

    def open_terminal():
        stream = Terminal()
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return open_terminal


def log_lines(work_dir):
    (file,) = work_dir.glob("*/2*.log")
    return [line for line in file.read_text().splitlines() if "Epoch(train)" in line]


def test_on_a_terminal_there_is_one_bar_with_step_loss_and_time_left(tmp_path, terminal, capsys):
    stream = terminal()
    toy_runner(tmp_path, images=64, max_epochs=2, log_level="INFO").train()
    last = stream.getvalue().replace("\n", "\r").split("\r")[-2]
    assert "32/32" in last
    assert re.search(r"loss=\d+\.\d{3}", last)
    assert re.search(r"\[\d+:\d+<\d+:\d+", last)  # passed < left
    out = capsys.readouterr().out
    assert "Epoch(train)" not in out  # the bar says it
    assert len(log_lines(tmp_path)) == 8
    assert "Checkpoints will be saved" in out  # other messages stand above it


def test_after_the_training_the_log_writes_to_its_console_as_before(tmp_path, terminal):
    terminal()
    runner = toy_runner(tmp_path, images=16, max_epochs=1, log_level="INFO")
    before = [(handler.stream, list(handler.filters)) for handler in module._console(runner.logger)]
    runner.train()
    assert [(handler.stream, list(handler.filters)) for handler in module._console(runner.logger)] == before


def test_an_epoch_shorter_than_the_logs_interval_has_a_few_lines(tmp_path, capsys):
    toy_runner(tmp_path, images=64, max_epochs=2, log_level="INFO").train()
    lines = log_lines(tmp_path)
    assert [re.search(r"\[(\d)\]\[ *(\d+)/16\]", line).groups() for line in lines] == [
        (epoch, step) for epoch in "12" for step in ("4", "8", "12", "16")
    ]
    assert all("eta:" in line and "loss:" in line for line in lines)
    captured = capsys.readouterr()
    assert captured.out.count("Epoch(train)") == 8
    assert captured.err == ""  # nothing is said twice


def test_a_quiet_log_off_a_terminal_has_lines_of_the_hook(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0.0)
    toy_runner(tmp_path, images=16, max_epochs=1, default_hooks=dict(progress=dict(label="toy"))).train()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"toy: step {step} of 4" for step in (1, 2, 3, 4)]
    assert all(re.search(r"loss \d+\.\d{3}, \d+:\d+ left$", line) for line in lines)


def test_a_hook_that_is_none_is_left_out(tmp_path):
    runner = toy_runner(tmp_path, default_hooks=dict(progress=None, curves=None))
    names = {type(hook).__name__ for hook in runner.hooks}
    assert not names & {"ProgressHook", "TrainingCurvesHook"}
    assert {"LoggerHook", "CheckpointHook"} <= names


def test_of_several_processes_the_main_one_alone_shows_it(tmp_path, terminal, monkeypatch):
    runner = toy_runner(tmp_path, images=16, max_epochs=1)
    monkeypatch.setattr(module, "is_main_process", lambda: False)
    stream = terminal()
    runner.train()
    assert stream.getvalue() == ""


def test_a_training_that_stops_on_the_way_leaves_the_bars_line(tmp_path, terminal):
    class Stop(ProgressHook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            raise KeyboardInterrupt

    stream = terminal()
    with pytest.raises(KeyboardInterrupt):
        toy_runner(tmp_path, hooks=[Stop()]).train()
    assert stream.getvalue().endswith("\n")
