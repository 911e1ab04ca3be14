"""Whatever stands in an artifact, it is read or refused in one sentence: no other error, and no code is run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ArtifactError, UserError
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult, NetworkResult
from mmssl_dynamic.evaluation.latency import Latency
from mmssl_dynamic.evaluation.transfer_result import TransferResult, TransferScore
from mmssl_dynamic.export import ResNetArchitecture
from mmssl_dynamic.export.load_export import load_export
from mmssl_dynamic.export.static_export import SCHEMA_VERSION
from mmssl_dynamic.features import Features
from mmssl_dynamic.features.feature_store import FeatureStore
from mmssl_dynamic.fileio import load_state_dict, weights_fingerprint
from mmssl_dynamic.result_cache import COMPUTATIONS, Key
from mmssl_dynamic.routing import RoutingResult, SubnetScore
from mmssl_dynamic.routing.result import DroppedSubnet
from mmssl_dynamic.subnets import PathSpace
from tests.helpers import IMAGES

pytestmark = pytest.mark.fault("broken and hostile files")

# Put in place of every value of a file: other types, and numbers that no figure has.
WRONG = (None, True, -1, 10**30, 0.5, 1e308, "x", "", [], [None], {}, {"a": []})
NOT_JSON = ("NaN", "-Infinity", "9" * 5000, "[" * 100_000)


def routing(folder):
    scores = [SubnetScore("0-0", 60.0, 50.0, 10.0, 5, 6), SubnetScore("0-1", 55.0, None, -4.0, 5, 6)]
    full = SubnetScore("full", 50.0, 40.0, 0.0, 9, 9)
    dropped = [DroppedSubnet("1-1", None, 4, "few")]
    result = RoutingResult("pets", {"k": 20}, "a" * 64, scores, full, {"seconds": 1.0}, dropped, "c", "p", None)
    result.save(folder / "routing.json")
    return folder / "routing.json", lambda path: RoutingResult.load(path).table()


def evaluation(folder):
    latency = Latency(1.0, 0.5, 2.0, 1, (32, 32), 5, 1, "CPU", 1)
    networks = [
        NetworkResult("w1.0", 70.0, 90.0, 5, 6, latency, 1.0),
        NetworkResult("w0.5", 60.0, None, 3, 4, None, 1.0),
    ]
    EvaluationResult({"kind": "knn"}, {"name": "pets"}, "a" * 64, networks, {"torch": "2"}).save(
        folder / "results.json"
    )
    return folder / "results.json", lambda path: EvaluationResult.load(path).table()


def transfer(folder):
    score = TransferScore("full", "pets", "top1", 70.0, 71.0, 0.1, {"top1": 70.0}, 45, 100, 1.5)
    networks = {"full": {"params": 5, "macs": 6}}
    result = TransferResult({"kind": "x"}, {"pets": {"n": 1}}, "a" * 64, networks, "full", [score], {"torch": "2"})
    result.save(folder / "results.json")
    return folder / "results.json", lambda path: TransferResult.load(path).table()


def features(folder):
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    Features(rows, ["a", "b", "c"], np.array([0, 1, 0]), ["x", "y"], "a" * 64, "/images").save(folder / "F.npy")
    return folder / "F.json", lambda path: Features.load(path.with_suffix(".npy"))


def progress(folder):
    key = Key("features", dict.fromkeys(COMPUTATIONS["features"].depends_on, "a"))
    store = FeatureStore(folder / "F.npy", 3, key)
    with store:
        store.append(np.zeros((2, 4), np.float32))

    def read(path):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                FeatureStore(folder / "F.npy", 3, key)
            except UserWarning as said:  # that the rows will be computed anew
                raise ArtifactError(str(said)) from said

    return store.progress, read


def sidecar(folder):
    architecture = ResNetArchitecture("basic", (1, 1, 1, 1), (4, 4, 4, 4), 4)
    state = architecture.build().state_dict()
    torch.save({f"backbone.{key}": value for key, value in state.items()}, folder / "b.pth")
    record = {
        "schema_version": SCHEMA_VERSION,
        "subnet": "0-0",
        "format": "mmpretrain",
        "architecture": architecture.record(),
        "images": IMAGES.record(),
        "weights_fingerprint": weights_fingerprint(state),
    }
    (folder / "b.pth.json").write_text(json.dumps(record))
    return folder / "b.pth.json", lambda path: load_export(folder / "b.pth")


def is_refused(read, file) -> bool:
    """Whether a file is refused, which must be in one sentence."""
    try:
        read(file)
    except UserError as error:
        message = str(error)
    else:
        return False
    assert "\n" not in message
    assert len(message) < 1000
    return True


ARTIFACTS = {f.__name__: f for f in (routing, evaluation, transfer, features, progress, sidecar)}


def places(data: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where a value can be replaced: the whole, and every part of it."""
    yield path
    if isinstance(data, dict | list):
        for key in data if isinstance(data, dict) else range(len(data)):
            yield from places(data[key], (*path, key))


def replaced(data: Any, path: tuple, value: Any) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = replaced(data[path[0]], path[1:], value)
    return copy


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_a_wrong_value_at_any_place_is_refused_in_one_sentence_or_does_no_harm(tmp_path, kind):
    file, read = ARTIFACTS[kind](tmp_path)
    text = file.read_text()
    data = json.loads(text)
    read(file)
    refused = 0
    for path in places(data):
        for wrong in (*WRONG, *NOT_JSON):
            marked = json.dumps(replaced(data, path, "@@"))
            file.write_text(marked.replace('"@@"', wrong if wrong in NOT_JSON else json.dumps(wrong)))
            refused += is_refused(read, file)
    file.write_text(text)
    read(file)
    assert refused > 5 * len(list(places(data)))


def test_an_accuracy_that_is_no_number_is_refused_by_its_name(tmp_path):
    for kind, key in (("routing", "select_accuracy"), ("evaluation", "top1"), ("transfer", "val_score")):
        file, read = ARTIFACTS[kind](tmp_path)
        text = file.read_text()
        for wrong in ("1e999", "101", '"70"', "true"):
            changed = json.loads(text)
            rows = changed.get("subnets") or changed.get("networks") or changed["scores"]
            (rows if isinstance(rows, list) else changed["scores"])[0][key] = "@@"
            file.write_text(json.dumps(changed).replace('"@@"', wrong))
            with pytest.raises(ArtifactError, match=rf"'\w+\[0\]\.{key}' is .*, not a number from 0 to 100"):
                read(file)


def clusters(folder):
    names = [f"image{i}.jpg" for i in range(8)]
    centroids = np.eye(4, 3, dtype=np.float32)
    Clusters(names, np.arange(8) % 4, 4, "sinkhorn", centroids, np.ones(3, np.float32), {"a": 1}).save(folder / "c.npz")
    return folder / "c.npz", lambda path: Clusters.load(path).sizes


def array(folder):
    features(folder)
    return folder / "F.npy", Features.load


def bank(folder):
    pair = torch.zeros(3), torch.ones(3)
    BNBank("a" * 64, PathSpace((1, 1, 2, 2)), {"full": {"bn1": pair}}, {}, {"images": 5}).save(
        folder / "bank.safetensors"
    )
    return folder / "bank.safetensors", BNBank.load


def checkpoint(folder):
    torch.save({"state_dict": {"a": torch.zeros(3), "b": torch.ones(2)}, "meta": {"epoch": 1}}, folder / "c.pth")
    return folder / "c.pth", load_state_dict


def old_checkpoint(folder):
    torch.save({"a": torch.zeros(3)}, folder / "old.pth", _use_new_zipfile_serialization=False)
    return folder / "old.pth", load_state_dict


def weights(folder):
    save_file({"a": torch.zeros(3), "b": torch.ones(2)}, folder / "w.safetensors")
    return folder / "w.safetensors", load_state_dict


BINARY = {f.__name__: f for f in (clusters, array, bank, checkpoint, old_checkpoint, weights)}


@pytest.mark.parametrize("kind", BINARY)
def test_damaged_bytes_are_refused_in_one_sentence_or_do_no_harm(tmp_path, kind):
    """Cut anywhere, bytes overwritten anywhere, and lengths blown up where the headers are."""
    file, read = BINARY[kind](tmp_path)
    good = file.read_bytes()
    read(file)
    rng = np.random.default_rng(0)
    damaged = [good[: int(rng.integers(len(good)))] for _ in range(60)]
    for number in range(240):
        content = bytearray(good)
        # Half of the damage goes to the first and last parts, where headers and directories are.
        reach = min(len(good), 200)
        place = int(rng.integers(len(good)) if number % 2 else rng.choice([1, -1]) * rng.integers(reach))
        width = int(rng.choice([1, 2, 4, 8]))
        patch = bytes([255]) * width if number % 3 else rng.bytes(width)
        start = place % len(good)
        content[start : start + width] = patch[: len(good) - start]
        damaged.append(bytes(content))
    refused = 0
    for content in damaged:
        file.write_bytes(content)
        refused += is_refused(read, file)
    assert refused > 60  # all that were cut


def test_every_field_of_a_bank_header_is_checked(tmp_path):
    file, read = bank(tmp_path)
    header = {"schema_version": 2, "fingerprint": "a" * 64, "space": PathSpace((1, 1, 2, 2)).record()}
    tensors = {"path/full/bn1/mean": torch.zeros(3), "path/full/bn1/var": torch.ones(3)}
    save_file(tensors, file, {"bn_bank": json.dumps(header)})
    read(file)
    for path in places(header):
        for wrong in (*WRONG, *NOT_JSON):
            marked = json.dumps(replaced(header, path, "@@"))
            text = marked.replace('"@@"', wrong if wrong in NOT_JSON else json.dumps(wrong))
            save_file(tensors, file, {"bn_bank": text})
            is_refused(read, file)  # or read: a longer fingerprint, other groups are a bank of another network
    nan = torch.tensor([0.0, torch.nan, 0.0])
    for name, wrong in (("mean", nan), ("var", -torch.ones(3)), ("var", torch.ones(2))):
        save_file({**tensors, f"path/full/bn1/{name}": wrong}, file, {"bn_bank": json.dumps(header)})
        with pytest.raises(ArtifactError, match="are no BatchNorm statistics"):
            read(file)


def test_records_of_results_are_those_of_their_classes():
    """The fields that are checked are those that are written."""
    latency = Latency(1.0, 0.5, 2.0, 1, (32, 32), 5, 1, "CPU", 1)
    result = NetworkResult("w1.0", 70.0, 90.0, 5, 6, latency, 1.0)
    assert NetworkResult.from_record(json.loads(json.dumps(result.record()))) == result
    score = TransferScore("full", "pets", "top1", 70.0, 71.0, 0.1, {"top1": 70.0}, 45, 100, 1.5)
    assert TransferScore.from_record(json.loads(json.dumps(asdict(score)))) == score
