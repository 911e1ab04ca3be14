"""Evaluate the networks of one training on labelled tasks by kNN and by a probe, for a study.

BatchNorm statistics of every network are calibrated alike: a plain network's on its training images, those of SDR's
sub-networks and of slimmable ones as the training left them in its bank. Features of all networks are kept in
features/TASK.npz beside the result, so that other scores can be computed from them later.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmssl_dynamic import cli
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.calibration.calibrate import load_statistics
from mmssl_dynamic.calibration.moments import pooled_statistics
from mmssl_dynamic.calibration.sample import draw_images, sample_batches
from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.evaluation.knn import KNNProtocol, knn_accuracy, leave_one_out_accuracy
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol, many_shot, split_indices
from mmssl_dynamic.features.pooling import pool
from mmssl_dynamic.loading import load_backbone, load_config, normalisation_of
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.subnets import FULL, SlimmableSpace, split_width
from mmssl_dynamic.writing import atomic_path, write_json

#: The tasks have 84 to 287 training images a class. Among 5, 10, 20, 50, 100 and 200 neighbours, 10 had the highest
#: leave-one-out accuracy on the *training* images of the nine tasks (52.7 % against 43.5 % with 200), by the first
#: plain SimSiam network; no super-network and no test image had a say.
KNN = KNNProtocol(k=10, vote="weighted")
#: The package's default, shown beside it.
KNN_200 = KNNProtocol()
#: Coarser than the published grid, on standardised features: enough for a comparison of networks.
PROBE = ManyShotProtocol(wd_from=-2, wd_to=3, wd_count=6, max_iter=200)
_CALIBRATION_IMAGES, _BATCH = 2000, 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config that the training left in its work dir")
    parser.add_argument("checkpoint", help="weights; the bank is looked for beside them")
    parser.add_argument("--tasks", required=True, nargs="+", metavar="DIR", help="tasks, or the folder of all of them")
    parser.add_argument("--out", metavar="DIR", help="(default: folder of the checkpoint)")
    args = parser.parse_args()
    start = time.monotonic()
    out = Path(args.out or Path(args.checkpoint).parent)
    cfg = load_config(args.config)
    net = load_backbone(cfg, args.checkpoint)
    names = _calibrate(net, cfg, Path(args.checkpoint).parent)
    results: dict[str, Any] = {}
    for root in _task_folders(args.tasks):
        task = Task.from_folder(root, cfg.eval_pipeline)
        features = _features(net, names, task, cfg)
        _keep(features, out / "features" / f"{task.name}.npz")
        results[task.name] = _scores(features, names)
        print(f"{task.name}: {results[task.name]['full']}, routed {results[task.name].get('routed')}", flush=True)
    record = {
        "config": str(args.config),
        "checkpoint": str(args.checkpoint),
        "networks": names,
        "params": {name: _params(net, name) for name in {names[0], names[-1]}},
        "knn": KNN.record(),
        "knn-200": KNN_200.record(),
        "probe": PROBE.record() | {"features": "standardised by the training images"},
        "tasks": results,
        "seconds": round(time.monotonic() - start, 1),
    }
    write_json(out / "results.json", record)


def _task_folders(given: list[str]) -> list[Path]:
    folders = [Path(name) for name in given]
    if len(folders) == 1 and not (folders[0] / "train").is_dir():
        folders = sorted(path for path in folders[0].iterdir() if (path / "train").is_dir())
    return folders


def _calibrate(net: Any, cfg: Any, folder: Path) -> list[str]:
    """Give every network its statistics; the names of the networks, the full or largest one first."""
    bank = folder / "bn_bank.safetensors"
    if isinstance(net, SuperNetwork) and isinstance(net.space, SlimmableSpace):
        BNBank.load(bank).apply(net, net.subnets)
        return [*net.subnets[::-1]]
    if isinstance(net, SuperNetwork) and net.space.candidates:
        BNBank.load(bank).apply(net, net.space.names)
        return [FULL, *net.space.candidates]
    dataset = build_dataset(cfg.extract_dataloader.dataset)
    chosen = draw_images(np.arange(len(dataset)), _CALIBRATION_IMAGES, seed=0, stream=FULL)
    batches = sample_batches(dataset, chosen, normalisation_of(cfg), _BATCH, device=_device(net))
    if isinstance(net, SuperNetwork):
        net.set_bn_statistics(FULL, pooled_statistics(net.static(FULL), batches))
    else:
        load_statistics(net, pooled_statistics(net, batches))
    return [FULL]


@torch.no_grad()
def _features(net: Any, names: list[str], task: Task, cfg: Any) -> dict[str, np.ndarray]:
    """``NAME/train`` and ``NAME/test`` (N, D) of every network, and ``labels/train``, ``labels/test`` (N,)."""
    found: dict[str, list[np.ndarray]] = {}
    splits = task.splits(normalisation_of(cfg), batch_size=100, device=_device(net))
    for part, batches in (("train", splits.train), ("test", splits.test)):
        for batch in batches:  # every image is read once for all networks
            found.setdefault(f"labels/{part}", []).append(batch.labels.cpu().numpy())
            for name in names:
                if isinstance(net, SuperNetwork):
                    with net.subnet(name):
                        maps = net(batch.images)
                else:
                    maps = net(batch.images)
                found.setdefault(f"{name}/{part}", []).append(pool(maps[-1]).cpu().numpy())
    return {key: np.concatenate(arrays) for key, arrays in found.items()}


def _device(net: Any) -> torch.device:
    return next(net.parameters()).device


def _keep(features: dict[str, np.ndarray], file: Path) -> None:
    small = {key: array.astype(np.float16) if array.ndim == 2 else array for key, array in features.items()}
    with atomic_path(file) as temporary:
        np.savez(temporary, **small)


def _scores(features: dict[str, np.ndarray], names: list[str]) -> dict[str, Any]:
    """KNN accuracy of every network, and a probe: of all slimmable ones, of SDR's of the full and the routed one.

    The routed path is chosen on the training images. Where paths have several widths, one is chosen for each of them.
    """
    labels = {part: features[f"labels/{part}"] for part in ("train", "test")}
    networks: dict[str, dict[str, float]] = {}
    for name in names:
        train, test = features[f"{name}/train"], features[f"{name}/test"]
        networks[name] = {
            "select": leave_one_out_accuracy(train, labels["train"], KNN),
            "knn": knn_accuracy(train, labels["train"], test, labels["test"], KNN),
            "knn-200": knn_accuracy(train, labels["train"], test, labels["test"], KNN_200),
        }
    if FULL not in names:
        for name in names:
            networks[name]["probe"] = probe(features, name)
        return {"networks": networks, "full": networks[names[0]]}
    whole = [name for name in names if name != FULL and not split_width(name)[1]]
    found: dict[str, Any] = {"networks": networks, "full": {**networks[FULL], "probe": probe(features, FULL)}}
    if whole:
        found |= _chosen(whole, networks, features)
    widths: dict[str, list[str]] = {}
    for name in names[1:]:
        widths.setdefault(split_width(name)[1].removeprefix("@") or "w1.0", []).append(name)
    if set(widths) > {"w1.0"} or (widths and not whole):
        found["widths"] = {width: _chosen(members, networks, features) for width, members in widths.items()}
        found["widths"].setdefault("w1.0", {"full": found["full"]})  # of the only path, which is the full network
    return found


def _chosen(names: list[str], networks: dict[str, dict[str, float]], features: dict[str, np.ndarray]) -> dict[str, Any]:
    """What routing gives among some networks; of a single one, there is nothing to choose."""
    routed = max(names, key=lambda name: networks[name]["select"])  # the first of equals, as the router takes it
    figures = {"name": routed, **networks[routed], "probe": probe(features, routed)}
    if len(names) == 1:
        return {"full": figures}
    best = max(names, key=lambda name: networks[name]["knn"])
    return {"routed": figures, "hindsight": {"name": best, **networks[best]}}


def probe(features: dict[str, np.ndarray], name: str) -> float:
    """Accuracy on the test images of logistic regression on all training images."""
    train, test = features[f"{name}/train"], features[f"{name}/test"]
    mean, scale = train.mean(0), train.std(0) + 1e-6
    held = split_indices(len(train))
    outcome = many_shot(
        (train - mean) / scale,
        features["labels/train"],
        held,
        (test - mean) / scale,
        features["labels/test"],
        protocol=PROBE,
    )
    return outcome.metrics["top1"]


def _params(net: Any, name: str) -> int:
    return net.num_parameters(name) if isinstance(net, SuperNetwork) else sum(p.numel() for p in net.parameters())


if __name__ == "__main__":
    cli.run(main)
