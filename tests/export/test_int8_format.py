"""An INT8 export is a smaller graph of the same network, and its sidecar says what it costs."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from mmssl_dynamic.apis.latency import Passes, latency
from mmssl_dynamic.calibration import calibrate_path
from mmssl_dynamic.datasets.batches import ImageBatches, build_dataset
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.evaluation.knn import knn_accuracy
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.export import InputImages, int8_format
from mmssl_dynamic.features.pooling import pool
from mmssl_dynamic.models import SlimmableResNet
from mmssl_dynamic.selection import DeviceTable
from tests.helpers import IMAGES, export_subnet, write_images

NAME = "w0.133333-d1111"
PIPELINE = [{"type": "mmssl_dynamic.LoadImage"}, {"type": "PackInputs"}]
SMALL = InputImages(IMAGES.normalisation, (32, 32), eval_pipeline=PIPELINE)


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a labelled task, a network that has seen its images, and the report of its graph."""
    root = tmp_path_factory.mktemp("int8")
    for part, count in (("train", 24), ("test", 12)):
        write_images(root / "task" / part, count, classes=3, seed=count)
    torch.manual_seed(0)
    net = SlimmableResNet(((8, 16, 16, 32), (16, 16, 32, 64)), ((1, 1, 1, 1),)).eval()
    net.set_bn_statistics(NAME, calibrate_path(net, NAME, [images_of(root, "train").images]))
    small = export_subnet(net, NAME, root / "small.onnx", spec(root, task=root / "task"), images=SMALL)
    return root, net, small


def images_of(root, part):
    """All images of a part of the task, in one batch with their labels."""
    config = {"type": "mmssl_dynamic.ImageFolder", "data_root": str(root / "task" / part), "pipeline": PIPELINE}
    (batch,) = ImageBatches(build_dataset(config), IMAGES.normalisation, 24)
    return batch


@torch.no_grad()
def accuracy(root, run):
    """kNN accuracy of the pooled outputs of something on the task."""
    train, test = (images_of(root, part) for part in ("train", "test"))
    return knn_accuracy(pool(run(train.images)), train.labels, pool(run(test.images)), test.labels)


def calibrated(there, count):
    """Positions of so many images, evenly spaced among those that are there."""
    return np.linspace(0, there - 1, count).round().astype(int).tolist()


def spec(root, **options):
    return {"type": "onnx_int8", "calibration_images": root / "task/train", "calibration_count": 12, **options}


def test_weights_and_feature_maps_have_eight_bits(work):
    _, _, small = work
    graph = onnx.load(small.path).graph
    kernels = [tensor for tensor in graph.initializer if len(tensor.dims) == 4]
    assert len(kernels) == 12  # every convolution: the stem, two of each block, and three shortcuts
    assert {tensor.data_type for tensor in kernels} == {onnx.TensorProto.INT8}
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) > 12


def test_the_sidecar_tells_what_it_costs(work):
    root, net, small = work
    sidecar = json.loads(small.sidecar.read_text())
    assert sidecar["format"] == "onnx_int8"
    assert sidecar["onnx"]["calibration"]["images"] == 12
    assert sidecar["verified"]["max_difference"] > 0
    found = sidecar["int8"]
    with net.subnet(NAME):
        assert found["accuracy"]["before"] == accuracy(root, lambda images: net(images)[-1])
    session = onnxruntime.InferenceSession(small.path, providers=["CPUExecutionProvider"])
    run = lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[-1])  # noqa: E731
    assert found["accuracy"]["after"] == accuracy(root, run)
    assert found["accuracy"]["after"] > 60  # 33 by chance
    images = torch.cat([images_of(root, "train").images[i : i + 1] for i in calibrated(24, 12)])
    with torch.no_grad(), net.subnet(NAME):
        cosines = torch.nn.functional.cosine_similarity(pool(net(images)[-1]), pool(run(images)))
    assert found["features"]["images"] == 12
    assert found["features"]["mean"] == pytest.approx(float(cosines.mean()), abs=1e-4)
    assert found["features"]["least"] == pytest.approx(float(cosines.min()), abs=1e-4)
    assert 0.9 < found["features"]["least"] < 1
    assert found["task"]["name"] == "task"
    assert found["protocol"]["kind"] == "knn"
    assert found["size_bytes"]["after"] == small.path.stat().st_size < 0.5 * found["size_bytes"]["before"]
    assert min(found["latency_ms"].values()) > 0
    assert found["latency_conditions"]["shape"] == [1, 3, 32, 32]
    text = str(small)
    for part in (
        "outputs are near those of the active sub-network",
        f"cosine {found['features']['mean']:.4f} with those in float32",
        f"accuracy on task: {found['accuracy']['before']:.2f} % in float32",
        "latency here:",
        "size:",
    ):
        assert part in text


def test_features_of_the_snippet_are_near_those_of_the_network(work, monkeypatch):
    root, net, small = work
    monkeypatch.chdir(root)
    scope = {}
    exec(json.loads(small.sidecar.read_text())["usage"], scope)
    batch = images_of(root, "test")
    with torch.no_grad(), net.subnet(NAME):
        wanted = net(batch.images)[-1].numpy()
    (found,) = scope["session"].run(None, {"images": batch.images.numpy()})
    assert 0 < np.linalg.norm(found - wanted) < 0.2 * np.linalg.norm(wanted)


def test_latencies_in_int8_are_a_table_of_their_own(work, tmp_path):
    _, net, small = work
    weights = export_subnet(net, NAME, tmp_path / "b.pth", "torchvision", images=SMALL)
    quick, quiet = Passes(repeats=2, warm_up=1), Execution(progress=False)
    table = latency([small.path], tmp_path / "int8.json", passes=quick, execution=quiet)
    assert table.conditions.runtime.endswith(" INT8")
    assert DeviceTable.load(tmp_path / "int8.json").entries[0].subnet == NAME
    with pytest.raises(ConfigError, match="measure them into a table each"):
        latency([weights.path, small.path], tmp_path / "both.json", passes=quick, execution=quiet)


@pytest.mark.slow
def test_a_graph_of_a_fixed_size_takes_the_calibration_images_in_full_batches(work, tmp_path):
    root, net, small = work
    fixed = spec(root, batch_size=5, image_size=32, task=root / "task")  # 24 and 12 images: the last batch is filled up
    report = export_subnet(net, NAME, tmp_path / "b.onnx", fixed, images=SMALL)
    told = json.loads(report.sidecar.read_text())  # images that fill up a batch count once
    assert told["onnx"]["calibration"]["images"] == told["int8"]["features"]["images"] == 12
    (given,) = onnx.load(report.path).graph.input
    assert [dim.dim_value for dim in given.type.tensor_type.shape.dim] == [5, 3, 32, 32]
    free, found = (json.loads(entry.sidecar.read_text())["int8"]["accuracy"] for entry in (small, report))
    assert found["before"] == free["before"]


def test_what_cannot_be_quantised_is_refused_in_a_sentence(work, tmp_path):
    root, net, _ = work

    def refused(match, images=SMALL, **options):
        with pytest.raises(ConfigError, match=match):
            export_subnet(net, NAME, tmp_path / "b.onnx", {"type": "onnx_int8", **options}, images=images)

    refused("with --calibration-images DIR")
    refused("--calibration-count 0 must be at least 1", calibration_images=root / "task/train", calibration_count=0)
    refused("does not take these options", calibration_image=root)
    refused("define eval_pipeline in the config", images=IMAGES, calibration_images=root / "task/train")
    refused("eval_pipeline makes 32 x 32", calibration_images=root / "task/train", image_size=64)
    assert not list(tmp_path.iterdir())


def test_a_graph_that_has_gone_wrong_is_noticed_and_the_file_is_gone(work, tmp_path, monkeypatch):
    root, net, _ = work
    quantise = int8_format._quantise

    def damaged(plain, prepared, small, images):
        quantise(plain, prepared, small, (batch / 50 for batch in images))  # ranges of other images

    monkeypatch.setattr(int8_format, "_quantise", damaged)
    with pytest.raises(ArtifactError, match="outputs of onnxruntime differ from the active sub-network"):
        export_subnet(net, NAME, tmp_path / "b.onnx", spec(root, batch_size=4, image_size=32), images=SMALL)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_other_images_has_its_share_in_every_batch_of_the_calibration(work, tmp_path):
    root, net, _ = work
    for name, count, contrast in (("faint", 48, 0.15), ("strong", 16, 1.0)):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        rng = np.random.default_rng(count)
        for index in range(count):
            pixels = 127 + contrast * (rng.integers(0, 256, (32, 32, 3)) - 127)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index:02d}.png")
    spec = {"type": "onnx_int8", "calibration_images": tmp_path / "images", "calibration_count": 64}
    report = export_subnet(net, NAME, tmp_path / "b.onnx", spec, images=SMALL)
    found = json.loads(report.sidecar.read_text())["int8"]["features"]
    assert found["least"] > 0.94  # by batches of the one and then of the other, the ranges cut off the strong ones
