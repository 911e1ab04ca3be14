import html
import json
import re
from dataclasses import replace

import pytest
import torch

from mmssl_dynamic.demo import dspnet_demo, steps
from mmssl_dynamic.demo.dspnet_demo import run_dspnet_demo
from mmssl_dynamic.demo.dspnet_report import average, comparison, standard_error
from mmssl_dynamic.demo.photos import DemoData
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult, NetworkResult
from mmssl_dynamic.fileio import read_json
from tests.helpers import write_images

SMALLEST, LARGEST = "w0.25-d1111", "w0.5-d2222"


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
        if "byol" in work_dir.parts:
            raise KeyboardInterrupt
        return real(steps, config, work_dir, seed, options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dspnet_demo, "train_to_end", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_dspnet_demo(out, epochs=2)
    first = times(out)
    assert not (out / "report.html").exists()
    run_dspnet_demo(out, epochs=2)
    assert {name: time for name, time in times(out).items() if "byol" not in name} == first
    return out


def times(out):
    """When every checkpoint of a training was written."""
    return {str(p.relative_to(out)): p.stat().st_mtime_ns for p in out.rglob("epoch_*.pth")}


def cells(report, table):
    """The rows of a table of the report."""
    found = report.read_text().split("<table>")[table + 1].split("</table>")[0]
    return [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in found.split("<tr")[1:]]


def test_every_network_is_trained_compared_and_exported(demo):
    accuracies = {n.name: n.top1 for n in EvaluationResult.load(demo / "knn/dspnet/colours/results.json").networks}
    assert len(accuracies) == 6
    header, *rows = cells(demo / "report.html", 0)
    assert header[1:4] == ["DSPNet", "BYOL alone", "random"]
    assert {row[0]: row[1] for row in rows} == {name: f"{top1:.1f}" for name, top1 in accuracies.items()}
    assert {row[0] for row in rows if row[2]} == {SMALLEST, LARGEST}
    text = (demo / "report.html").read_text()
    assert text.count("data:image/png") == 2  # accuracy over cost, losses
    trained = read_json(demo / "dspnet/collapse.json", "report")["steps"]
    assert trained[LARGEST] == 4
    assert trained[SMALLEST] == 2
    assert read_json(demo / "byol" / SMALLEST / "collapse.json", "report")["steps"] == {SMALLEST: 4}
    assert len(list((demo / "networks").glob("*.pth"))) == 6


def test_all_networks_are_compared_on_the_same_images_under_the_same_protocol(demo):
    results = [EvaluationResult.load(file) for file in sorted((demo / "knn").rglob("colours/results.json"))]
    assert len(results) == 4  # DSPNet, BYOL twice, random weights
    assert all(result.protocol == results[0].protocol and result.data == results[0].data for result in results)
    assert results[0].protocol["bn_statistics"] == "calibrated (path)"
    assert len({result.weights_fingerprint for result in results}) == 4


def test_the_lines_of_the_report_load_an_exported_network(demo, monkeypatch):
    (code,) = re.findall(r"<pre>(.*?)</pre>", (demo / "report.html").read_text(), re.DOTALL)
    assert len(code.splitlines()) == 3
    monkeypatch.chdir(demo / "networks")
    names = {}
    exec(html.unescape(code), names)
    assert names["net"](torch.zeros(2, 3, 64, 64)).shape == (2, 128)


def test_the_demo_again_trains_nothing_and_gives_the_same_figures(demo):
    before, table = times(demo), cells(demo / "report.html", 0)
    run_dspnet_demo(demo, epochs=2)
    assert times(demo) == before
    assert cells(demo / "report.html", 0) == table


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


def network(name, top1):
    return NetworkResult(name, top1, None, 1, 1, None, 0.0)


def test_the_summary_says_what_the_figures_say():
    ours = {"small": network("small", 40.0), "middle": network("middle", 45.0), "large": network("large", 50.0)}
    random = {**ours, "small": network("small", 42.0), "large": network("large", 30.0)}
    byol = {"small": network("small", 40.02), "large": network("large", 51.0)}
    text = comparison(ours, byol, random)
    assert "DSPNet's networks get 40.0 to 50.0 %" in text
    assert "1 of 3 are above" in text  # equal is not above
    assert "inside DSPNet it gets 40.0 %, the same." in text
    assert "inside DSPNet it gets 50.0 %, 1.0 points less." in text
    assert "2.0 points more" in comparison({"large": network("large", 53.0)}, {"large": byol["large"]}, random)


def test_means_are_over_the_tasks_and_their_error_falls_with_the_test_images(demo):
    result = EvaluationResult.load(demo / "knn/dspnet/colours/results.json")

    def scored(top1, images):
        networks = [replace(found, top1=top1) for found in result.networks]
        return replace(result, networks=networks, data={**result.data, "test": {"images": images}})

    found = {"a": scored(50.0, 100), "b": scored(20.0, 400)}
    assert average(found)[SMALLEST].top1 == 35.0
    # 5 and 2 points of the tasks make sqrt(29) / 2 of their mean
    assert standard_error(found, SMALLEST) == pytest.approx(29**0.5 / 2)
