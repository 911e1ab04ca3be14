"""Memory and start-up time of a data set in shards, its clusters and its features, for each million of images.

The images are not there: an index of so many names is written, and opened as a training opens it, in a process of its
own; so are clusters, which are matched to the data set by their names, and a feature file with names and labels.
Resident memory is what that process has more than before; what is mapped from the index belongs to it once read.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from mmssl_dynamic import cli
from mmssl_dynamic.arguments import at_least, positive
from mmssl_dynamic.commands import shared

OPEN = """
import gc, json, resource, sys, time
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets import build_dataset, sample_names
from mmssl_dynamic.features import Features

def resident():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * resource.getpagesize()

def measured(load):
    gc.collect()
    before, start = resident(), time.process_time()
    made = load()
    return made, [resident() - before, time.process_time() - start]

def clusters_of(folder, names):
    clusters = Clusters.load(folder + "/clusters.npz")
    return clusters, clusters.align(names)

for folder in sys.argv[1:]:  # a small one first, which imports everything
    found = {}
    config = dict(type="mmssl_dynamic.ImageFolder", data_root=folder, pipeline=[])
    dataset, found["data set"] = measured(lambda: build_dataset(config))
    clusters, found["clusters"] = measured(lambda: clusters_of(folder, sample_names(dataset)))
    features, found["features"] = measured(lambda: Features.load(folder + "/F.npy"))
last = dataset.get_data_info(len(dataset) - 1)
print(json.dumps([len(dataset), found, last["img_path"], last["gt_label"]]))
"""


def write_index(folder: Path, images: int, classes: int = 1000) -> None:
    """An index of images that are not there, in one shard, with names as long as ImageNet's."""
    import numpy as np

    from mmssl_dynamic.datasets.shards import ShardIndex

    folder.mkdir(parents=True)
    (folder / "000000.tar").touch()
    per_class = -(-images // classes)
    numbers = np.arange(images)
    # n00000007/n00000007_00000123.JPEG, digit by digit.
    names = np.tile(np.frombuffer(b"n00000000/n00000000_00000000.JPEG", np.uint8), (images, 1))
    for place, values in ((1, numbers // per_class), (11, numbers // per_class), (20, numbers % per_class)):
        for digit in range(8):
            names[:, place + 7 - digit] += (values // 10**digit % 10).astype(np.uint8)
    sizes = np.full(images, 110_000, np.uint32)
    ShardIndex.save(
        folder,
        {
            "names": names.reshape(-1),
            "ends": np.cumsum(np.full(images, names.shape[1], np.uint64)),
            "shards": np.zeros(images, np.uint32),
            "offsets": np.cumsum(sizes, dtype=np.uint64),
            "sizes": sizes,
        },
    )


def write_by_names(folder: Path, images: int) -> None:
    """Clusters and features of the images of an index."""
    import numpy as np

    from mmssl_dynamic.clusters import Clusters
    from mmssl_dynamic.datasets.shards import ShardIndex
    from mmssl_dynamic.features import Features

    names, numbers = ShardIndex.open(folder).image_names, np.arange(images)
    Clusters(names, numbers % 2, 2, "random").save(folder / "clusters.npz")
    Features(np.zeros((images, 1), np.float32), names, numbers % 1000).save(folder / "F.npy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared.add_number(parser, "--millions", "of images (default: 1)", positive, float, default=1.0)
    shared.add_number(parser, "--classes", "folders that they are in (default: 1000)", at_least(2), default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small", Path(folder) / "large"
        write_index(small, 4, 2)
        write_index(large, round(args.millions * 1e6), args.classes)
        write_by_names(small, 4)
        write_by_names(large, round(args.millions * 1e6))
        on_disk = sum(file.stat().st_size for file in (large / "index").iterdir())
        command = [sys.executable, "-c", OPEN, str(small), str(large)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        images, found, _, _ = json.loads(done.stdout.splitlines()[-1])
    print(f"{images:,} images, {on_disk / images:.0f} bytes of index on disk for each")
    for name, (memory, seconds) in found.items():
        print(f"{name:9} {memory / images:4.0f} bytes of memory an image, {seconds / images * 1e6:.2f} s a million")


if __name__ == "__main__":
    cli.run(main)
