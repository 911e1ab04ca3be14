import json

import pytest
import torch

from mmssl_dynamic.demo.images import shrink_images
from mmssl_dynamic.demo.sdr_demo import run_demo
from mmssl_dynamic.errors import ConfigError, DataError
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
        assert len(result.subnets) == 16
        assert f"Task: {task}" in text
        (backbone,) = (demo / "routing" / task).glob("backbone_*.pth")
        assert result.best.name in backbone.name
        state = torch.load(backbone, weights_only=True)["state_dict"]
        assert all(name.startswith("backbone.") for name in state)
    assert text.count("data:image/png") == 5  # montage, heat-map, three histograms
    assert "random weights" in text
    assert json.loads((demo / "demo.json").read_text())["epochs"] == 1


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
