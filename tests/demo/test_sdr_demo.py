import html
import json
import re
import shlex
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmssl_dynamic.apis.select import select
from mmssl_dynamic.budget import Budget, Cost
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.demo.images import shrink_images
from mmssl_dynamic.demo.sdr_demo import _with_paths, run_demo
from mmssl_dynamic.demo.sdr_report import Measured, SDRDemoResults, TaskFigures, gain
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.loading import build_backbone, find_config, load_config
from mmssl_dynamic.routing import RoutingResult
from tests.helpers import write_images


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "out"
    return run_demo(out, epochs=1).parent


def test_the_demo_leaves_a_report_and_a_verified_backbone_for_every_task(demo):
    text = (demo / "report.html").read_text()
    for task in ("everyday", "medical", "textures"):
        result = RoutingResult.load(demo / "routing" / task / "routing.json")
        assert len(result.subnets) == 4  # as many paths as suit 2,048 images
        assert f"Task: {task}" in text
        (backbone,) = (demo / "routing" / task).glob("backbone_*.pth")
        assert result.best.name in backbone.name
        state = torch.load(backbone, weights_only=True)["state_dict"]
        assert all(name.startswith("backbone.") for name in state)
    assert text.count("data:image/png") == 6  # montage, heat-map, three histograms, budget
    rows = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in text.split("</table>")[0].split("<tr")[1:]]
    assert [row[0] for row in rows] == [
        "test accuracy in %",
        "random weights",
        "SimSiam, 1 epochs",
        "SimSiam, 2 epochs",
        "SDR, full network",
        "SDR, routed sub-network",
        "chosen for every task",
        "SDR, best in hindsight",
    ]
    routed = [RoutingResult.load(demo / "routing" / task / "routing.json").best.test_accuracy for task in rows[0][1:4]]
    assert [float(cell) for cell in rows[5][1:4]] == pytest.approx(routed, abs=0.6)  # one test image of 160
    assert float(rows[5][4]) == pytest.approx(np.mean(routed), abs=0.6)
    difference = float(rows[5][4]) - float(rows[3][4])
    assert float(rows[5][5].split()[0]) == pytest.approx(difference, abs=0.11)
    assert rows[3][5] == ""
    assert "points (standard error" in text
    steps = {name: json.loads((demo / name / "collapse.json").read_text())["steps"] for name in ("sdr",)}
    assert sum(steps["sdr"].values()) == 32  # as many as SimSiam has in its second epoch
    assert json.loads((demo / "demo.json").read_text())["epochs"] == 1


def test_the_report_ends_with_the_networks_that_select_finds_within_half_of_the_weights(demo):
    text = html.unescape((demo / "report.html").read_text())
    end = text[text.index("<h2>Within a budget") : text.index("<h2>How it was made")]
    command = shlex.split(re.search(r"\$ mmssl-dynamic select (.*)", end)[1])
    (results, limit, table) = command[0], command[2], command[4]
    found = select([results], Budget.of({"max_params": limit}), device_table=table)
    assert [choice.task.task for choice in found] == ["everyday", "medical", "textures"]
    for choice in found:
        assert choice.text() in end
        routed = RoutingResult.load(demo / "routing" / choice.task.task / "routing.json")
        assert choice.chosen.name == routed.best.name
        assert not choice.chosen.cost.estimated
        assert choice.budget.fits(choice.chosen.cost)
        assert not choice.budget.fits(Cost(0, routed.full.params))
    rows = [re.findall(r"<t[dh]>(.*?)</t[dh]>", row) for row in end.split("<tr")[1:]]
    assert [row[0] for row in rows[1:]] == ["SimSiam, 2 epochs", "SDR, routed sub-network", "SDR, full network"]
    assert rows[1][4:6] == rows[2][4:6]  # a sub-network has SimSiam's weights and multiply-adds
    first = text.split("</table>")[0]
    for row in rows[1:]:  # accuracies are those at the top of the page
        cells = "".join(f"<td>{cell}</td>" for cell in row[:4])
        assert cells in first
    assert all(float(row[6].removesuffix(" ms")) > 0 for row in rows[1:])
    assert (demo / "budget.png").stat().st_size > 10_000
    assert (demo / "budget.svg").is_file()


def test_the_demo_again_trains_nothing_and_gives_the_same_figures(demo):
    before = {p.name: p.stat().st_mtime_ns for p in (demo / "sdr").glob("*.pth")}
    table = (demo / "report.html").read_text().split("</table>")[0]
    run_demo(demo, epochs=1)
    assert {p.name: p.stat().st_mtime_ns for p in (demo / "sdr").glob("*.pth")} == before
    assert (demo / "report.html").read_text().split("</table>")[0] == table


def test_a_folder_of_another_demo_or_of_other_files_is_refused(demo, tmp_path):
    with pytest.raises(ConfigError, match="other settings"):
        run_demo(demo, epochs=2)
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="other files"):
        run_demo(tmp_path)


def test_a_path_has_simsiams_widths_however_many_there_are():
    simsiam = build_backbone(load_config(find_config("demo/simsiam_demo.py")))
    for number in (4, 16):
        net = build_backbone(load_config(find_config("demo/sdr_demo.py"), _with_paths(number)))
        assert len(net.space.paths) == number
        shapes = {name: p.shape for name, p in net.static(net.space.paths[-1]).named_parameters()}
        assert shapes == {name: p.shape for name, p in simsiam.named_parameters()}


# --- what the report says


def test_a_gain_is_paired_and_images_alike_say_nothing():
    one, other = np.array([1, 1, 1, 0], bool), np.array([1, 0, 1, 0], bool)
    found = gain([one, one], [other, other])
    assert found.points == pytest.approx(25)
    # one of four images differs: variance 0.25 of (0, 1, 0, 0), over 4 images, and two tasks
    assert found.error == pytest.approx(100 * np.sqrt(2 * 0.25 / 4) / 2)
    assert (gain([one], [one]).points, gain([one], [one]).error) == (0, 0)


def results(routed, simsiam, hindsight, start=0):
    """A demo of one task of 100 test images, by numbers of images that are classified rightly.

    Of 100 training images, the routed sub-network classifies 60 rightly, the full network 50, and the start as many as
    are given; of the test images 99.
    """

    def right(count):
        return Measured(np.ones(4, bool), np.arange(100) < count)

    subnets = [SimpleNamespace(test_accuracy=float(routed)), SimpleNamespace(test_accuracy=float(hindsight))]
    task = TaskFigures(
        SimpleNamespace(subnets=subnets),
        None,
        {"SimSiam, 1 epochs": Measured(np.arange(100) < start, right(99).test), "SimSiam, 2 epochs": right(simsiam)},
        Measured(np.arange(100) < 50, right(simsiam).test),
        Measured(np.arange(100) < 60, right(routed).test),
    )
    names = [f"{i}.png" for i in range(40)]
    clusters = Clusters(names, np.arange(40, dtype=np.int32) % 4, 4, "random")
    steps = {"full": 9, "0-0-0-0": 5, "0-0-0-1": 7}
    return SDRDemoResults(clusters, None, {}, {"steps": steps}, epochs=1, num_paths="", tasks={"a": task})


def test_the_conclusion_says_what_the_figures_say():
    assert (
        results(70, 50, 70)
        .conclusion()
        .endswith("sub-networks alone are 20.0 points (standard error 4.0) above it: more than chance.")
    )
    assert "within two standard errors" in results(51, 50, 70).conclusion()
    below = results(45, 50, 58).conclusion()
    assert "the chosen networks get 45.0 %, 5.0 points (standard error 2.2) below" in below
    assert "Paths that are 8.0 points above it are there" in below
    none = results(45, 50, 48).conclusion()
    assert "Not even the best paths in hindsight are above it (-2.0 points): 5 to 7 steps of each path" in none
    assert "about 10 images of its own" in none
    assert "get 45.0 %" in results(45, 50, 48, start=60).conclusion()  # no better on the training images
    of_start = results(45, 50, 48, start=61).conclusion()
    assert "the chosen networks get 99.0 %, 49.0 points (standard error 5.0) above SimSiam" in of_start
    assert "alone are 5.0 points (standard error 2.2) below it" in of_start


def test_own_images_are_shrunk_once_and_too_few_are_refused(tmp_path):
    write_images(tmp_path / "mine", 12, size=100)
    target = shrink_images(tmp_path / "mine", tmp_path / "small", limit=8, minimum=4)
    copies = sorted(target.rglob("*.png"))
    assert len(copies) == 8
    from PIL import Image

    assert all(min(Image.open(copy).size) == 64 for copy in copies)
    times = [copy.stat().st_mtime_ns for copy in copies]
    shrink_images(tmp_path / "mine", tmp_path / "small", limit=8, minimum=4)
    assert [copy.stat().st_mtime_ns for copy in copies] == times
    with pytest.raises(DataError, match="12 images; the demo needs at least 1024"):
        shrink_images(tmp_path / "mine", tmp_path / "small", limit=8, minimum=1024)
