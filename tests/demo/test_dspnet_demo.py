import html
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmssl_dynamic.demo import dspnet_demo, steps
from mmssl_dynamic.demo.dspnet_demo import epochs_in, run_dspnet_demo
from mmssl_dynamic.demo.dspnet_results import (
    AT_ONCE,
    EQUAL_STEPS,
    EQUAL_TIME,
    DSPNetDemoResults,
    Training,
    average,
    comparison,
    small_gain,
    standard_error,
)
from mmssl_dynamic.demo.photos import DemoData
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult
from mmssl_dynamic.fileio import read_json
from tests.helpers import write_images

SMALLEST, LARGEST = "w0.25-d1111", "w0.5-d2222"


# It trains thirteen networks: two minutes.
of_the_whole_demo = pytest.mark.slow


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Coloured noise in place of the photographs: two steps an epoch, and a small task."""
    root = tmp_path_factory.mktemp("photographs")
    write_images(root / "pretrain", 128)
    write_images(root / "colours/train", 24, seed=1)
    write_images(root / "colours/test", 16, seed=2)
    data = DemoData(root, root / "pretrain", {"colours": root / "colours"}, 32, 0, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "write_demo_data", lambda folder, seed: data)
        yield data


@pytest.fixture(scope="module")
def demo(photographs, tmp_path_factory):
    """A demo that was interrupted after the first of its trainings, and finished later."""
    out = tmp_path_factory.mktemp("demo") / "out"
    real = dspnet_demo.train_to_end

    def interrupted(steps, config, work_dir, seed, options):
        if "equal_steps" in work_dir.parts:
            raise KeyboardInterrupt
        return real(steps, config, work_dir, seed, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dspnet_demo, "train_to_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_dspnet_demo(out, epochs=2)
    first = times(out)
    assert not (out / "report.html").exists()
    run_dspnet_demo(out, epochs=2)
    assert {name: time for name, time in times(out).items() if name.startswith("dspnet")} == first
    return out


def times(out):
    """When every checkpoint of a training was written."""
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.rglob("epoch_*.pth")}


def cells(report, table):
    """The rows of a table of the report."""
    found = report.read_text().split("<table>")[table + 1].split("</table>")[0]
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in found.split("<tr")[1:]]


@of_the_whole_demo
def test_every_network_is_trained_compared_and_exported(demo):
    accuracies = {n.name: n.top1 for n in EvaluationResult.load(demo / "knn/dspnet/colours/results.json").networks}
    assert len(accuracies) == 6
    header, *rows = cells(demo / "report.html", 0)
    assert header[1:5] == ["at once", "alone, in the same time", "alone, for as many steps", "random weights"]
    assert {row[0]: row[1] for row in rows[:-1]} == {name: f"{top1:.1f}" for name, top1 in accuracies.items()}
    for column, kind in ((2, "equal_time"), (3, "equal_steps")):
        for row in rows[:-1]:
            result = EvaluationResult.load(demo / f"knn/{kind}/{row[0]}/colours/results.json")
            assert row[column] == f"{result.networks[0].top1:.1f}"
    assert rows[-1][0] == "training of all"
    assert all(re.fullmatch(r"\d+ s", cell) for cell in rows[-1][1:4])
    text = (demo / "report.html").read_text()
    assert text.count("data:image/png") == 3  # accuracy over cost, losses, the budget
    trained = read_json(demo / "dspnet/collapse.json", "report")["steps"]
    assert trained[LARGEST] == 4
    assert trained[SMALLEST] == 2
    for name in accuracies:
        assert read_json(demo / "equal_steps" / name / "collapse.json", "report")["steps"] == {name: 4}
        assert read_json(demo / "equal_time" / name / "collapse.json", "report")["steps"][name] in (2, 4)
    assert len(list((demo / "networks").glob("*.pth"))) == 6


@of_the_whole_demo
def test_all_networks_are_compared_on_the_same_images_under_the_same_protocol(demo):
    results = [EvaluationResult.load(file) for file in sorted((demo / "knn").rglob("colours/results.json"))]
    assert len(results) == 14  # at once, each of six alone twice, random weights
    assert all(result.protocol == results[0].protocol and result.data == results[0].data for result in results)
    assert results[0].protocol["bn_statistics"] == "calibrated (path)"
    assert len({result.weights_fingerprint for result in results}) >= 8  # 14 unless two epochs are the same time


@of_the_whole_demo
def test_the_lines_of_the_report_load_an_exported_network(demo, monkeypatch):
    code, chosen = re.findall(r"<pre>(.*?)</pre>", (demo / "report.html").read_text(), re.DOTALL)
    assert chosen.startswith("mean of the tasks: ")
    assert len(code.splitlines()) == 3
    monkeypatch.chdir(demo / "networks")
    names = {}
    exec(html.unescape(code), names)
    assert names["net"](torch.zeros(2, 3, 64, 64)).shape == (2, 128)


@of_the_whole_demo
def test_the_demo_again_trains_nothing_and_gives_the_same_figures(demo):
    before, table = times(demo), cells(demo / "report.html", 0)
    run_dspnet_demo(demo, epochs=2)
    assert times(demo) == before
    assert cells(demo / "report.html", 0) == table


@of_the_whole_demo
def test_other_settings_another_demo_and_too_few_epochs_are_refused(demo, tmp_path):
    with pytest.raises(ConfigError, match="other settings"):
        run_dspnet_demo(demo, epochs=3)
    (tmp_path / "demo.json").write_text(json.dumps(steps.demo_settings(None, 2, 0, 2048)))  # SDR's
    with pytest.raises(ConfigError, match="other settings"):
        run_dspnet_demo(tmp_path, epochs=2)
    with pytest.raises(ConfigError, match="--epochs 1 leaves none for the smaller networks"):
        run_dspnet_demo(tmp_path / "new", epochs=1)
    assert not (tmp_path / "new").exists()


def test_too_few_images_of_your_own_are_refused(photographs, tmp_path):
    write_images(tmp_path / "mine", 20)
    with pytest.raises(DataError, match="20 images; the demo needs at least 512"):
        run_dspnet_demo(tmp_path / "out", tmp_path / "mine")


def test_epochs_alone_are_those_of_equal_time():
    def training(time, steps):
        return Training([{"time": time}, {"time": 3 * time}], {}, {"net": steps})

    assert training(0.1, 50).seconds == pytest.approx(10)
    alone = [training(0.1, 50), training(0.3, 50)]  # 10 and 30 s
    assert epochs_in(20, alone, 8) == 4
    assert epochs_in(24, alone, 8) == 5
    assert epochs_in(0.1, alone, 8) == 1
    assert epochs_in(50, alone, 8) == 8  # never more than they had


def outcome(at_once, alone, steps_at_once=10, steps_alone=5):
    """Results of three networks on two tasks, the accuracies by network; on the second task 4 points more at once."""

    def evaluated(accuracies):
        networks = [SimpleNamespace(name=name, top1=top1) for name, top1 in accuracies.items()]
        return SimpleNamespace(networks=networks)

    dspnet = {"a": evaluated(at_once), "b": evaluated({name: top1 + 4 for name, top1 in at_once.items()})}
    single = {n: {task: evaluated({n: top1}) for task in ("a", "b")} for n, top1 in alone.items()}

    def training(**steps):
        return Training([{"time": 0.5}], {}, steps)

    return DSPNetDemoResults(
        names=list(at_once),
        dspnet=dspnet,
        alone={EQUAL_TIME: single, EQUAL_STEPS: single},
        random={},
        trainings={
            AT_ONCE: {"all": training(**dict.fromkeys(at_once, steps_at_once), large=20)},
            EQUAL_TIME: {name: training(**{name: steps_alone}) for name in alone},
            EQUAL_STEPS: {name: training(**{name: 20}) for name in alone},
        },
        exports=[],
        batch_size=64,
        settings={},
        seconds={},
    )


def test_the_summary_says_what_the_figures_say():
    """Of small and middle, not of large: 1, 5, 2 and 6 points more."""
    above = outcome({"small": 41.0, "middle": 47.0, "big": 10.0}, {"small": 40.0, "middle": 45.0, "big": 50.0})
    found = small_gain(above.dspnet, above.alone[EQUAL_TIME])
    assert found.points == pytest.approx(3.5)
    assert found.pairs == 4
    assert found.error == pytest.approx(np.std([1, 5, 2, 6], ddof=1) / 2)
    text = comparison(above)
    assert "(10 s at once, 8 s for all alone)" in text
    assert "are +3.5 ± 1.2 points against themselves alone" in text
    assert "which takes 30 s together" in text
    assert "Steps" not in text
    worse = {"small": 50.0, "middle": 50.0, "big": 0.0}
    below = outcome({"small": 41.0, "middle": 47.0, "big": 10.0}, worse)
    assert "-4.0 ±" in comparison(below)
    assert comparison(below).endswith("alone 5. Weights that fit 3 networks fit each less.")
    fewer = outcome({"small": 41.0, "middle": 47.0, "big": 10.0}, worse, steps_at_once=3)
    assert comparison(fewer).endswith("a small network has 3 steps of its own, alone 5 in the same time.")


@of_the_whole_demo
def test_means_are_over_the_tasks_and_their_error_falls_with_the_test_images(demo):
    result = EvaluationResult.load(demo / "knn/dspnet/colours/results.json")

    def scored(top1, images):
        networks = [replace(found, top1=top1) for found in result.networks]
        return replace(result, networks=networks, data={**result.data, "test": {"images": images}})

    found = {"a": scored(50.0, 100), "b": scored(20.0, 400)}
    assert average(found)[SMALLEST].top1 == 35.0
    # 5 and 2 points of the tasks make sqrt(29) / 2 of their mean
    assert standard_error(found, SMALLEST) == pytest.approx(29**0.5 / 2)
