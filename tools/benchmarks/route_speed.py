"""Routing over all paths one by one against shared prefixes, and both against the fast ways: ratios from one run.

With and without shared prefixes, routing uses the same BatchNorm statistics (those of prefixes) and images, and must
give the same accuracies to the last digit. --fast adds the cluster-guided and the halving router, which evaluate most
sub-networks on few images or on none. Weights, statistics and images are random: speed does not depend on them, and
the regret of the fast ways cannot be seen here; tools/route.py --reference measures it.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmssl_dynamic import cli
from mmssl_dynamic.commands import shared

if TYPE_CHECKING:
    import torch

    from mmssl_dynamic.calibration import BNBank
    from mmssl_dynamic.downstream.splits import Splits
    from mmssl_dynamic.models import SDRResNet
    from mmssl_dynamic.routing import Router, RoutingResult


@dataclass
class RandomBatch:
    """Images with labels."""

    images: torch.Tensor
    labels: torch.Tensor


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=50, help="of the ResNet (default: 50)")
    parser.add_argument("--stage-channels", type=int, nargs=4, default=[96, 192, 384, 832], help="widths of the stages")
    parser.add_argument("--stage-groups", type=int, nargs=4, default=[4, 4, 4, 4], help="groups of the stages")
    parser.add_argument("--size", type=int, default=96, help="side of the images in pixels (default: 96)")
    parser.add_argument("--images", type=int, default=32, help="half to train, half to test on (default: 32)")
    parser.add_argument("--batch-size", type=int, default=16, help="images per batch (default: 16)")
    parser.add_argument("--memory-gib", type=float, default=4.0, help="bound on what routing holds (default: 4)")
    parser.add_argument("--repeat", type=int, default=1, help="times that each way is run; the fastest counts")
    parser.add_argument("--fast", action="store_true", help="time the cluster-guided and the halving router, too")
    parser.add_argument("--candidates", type=int, default=16, help="of the cluster-guided router (default: 16)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: torch's choice; 1 on a busy machine)")
    shared.add_device(parser)
    return parser.parse_args()


def random_split(count: int, args: argparse.Namespace, device: torch.device) -> list[RandomBatch]:
    import torch

    images = torch.randn(count, 3, args.size, args.size).to(device)
    labels = torch.arange(count) % 2
    return [RandomBatch(*pair) for pair in zip(images.split(args.batch_size), labels.split(args.batch_size))]


def random_bank(net: SDRResNet) -> BNBank:
    import torch

    from mmssl_dynamic.calibration import BNBank
    from mmssl_dynamic.calibration.bn_bank import prefixes, stage_of

    def draw(size: int) -> tuple[torch.Tensor, torch.Tensor]:
        return 0.1 * torch.randn(size), 0.5 + torch.rand(size)

    bank = BNBank.of(net)
    sizes = {}
    for name in (net.space.paths[0], "full"):
        twin = net.static(name)
        sizes[name] = {n: m.num_features for n, m in twin.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    bank.path["full"] = {layer: draw(size) for layer, size in sizes["full"].items()}
    for prefix in prefixes(net.space):
        stage = -1 if prefix == "stem" else prefix.count("-")
        layers = sizes[net.space.paths[0]].items()
        bank.prefix[prefix] = {layer: draw(size) for layer, size in layers if stage_of(layer) == stage}
    return bank


def timed(net: SDRResNet, bank: BNBank, splits: Splits, share: bool, memory_gib: float) -> tuple[RoutingResult, float]:
    """A routing result and the CPU seconds it took, of all threads."""
    from mmssl_dynamic.evaluation import KNNProtocol
    from mmssl_dynamic.routing import KNNRouter

    start = time.process_time()
    router = KNNRouter(net, bank, "prefix", KNNProtocol(k=5), memory_gib, share=share)
    result = router.route(splits, task="with shared prefixes" if share else "one by one")
    return result, time.process_time() - start


def fast_routers(net: SDRResNet, bank: BNBank, args: argparse.Namespace) -> dict[str, Router]:
    """The cluster-guided router, with random clusters of a ResNet's features, and the halving router, by name."""
    import numpy as np

    from mmssl_dynamic.clusters import Clusters
    from mmssl_dynamic.evaluation import KNNProtocol
    from mmssl_dynamic.models import StaticResNet
    from mmssl_dynamic.routing import ClusterGuidedRouter, SuccessiveHalvingRouter

    base = StaticResNet(depth=args.depth).to(next(net.parameters()).device).eval()
    number = net.space.num_paths
    dim = 2048 if args.depth >= 50 else 512
    centroids = np.random.default_rng(0).normal(size=(number, dim)).astype(np.float32)
    clusters = Clusters([f"{i}" for i in range(number)], np.arange(number), number, "sinkhorn", centroids)
    options = dict(bn="prefix", protocol=KNNProtocol(k=5), memory_gib=args.memory_gib)
    return {
        f"cluster-guided, {args.candidates} candidates": ClusterGuidedRouter(
            net, bank, clusters=clusters, base=base, candidates=args.candidates, **options
        ),
        "halving": SuccessiveHalvingRouter(net, bank, **options),
    }


def main() -> None:
    args = parse_args()
    import torch

    from mmssl_dynamic.downstream.splits import Splits
    from mmssl_dynamic.evaluation import complexity
    from mmssl_dynamic.features import pooled_features
    from mmssl_dynamic.loading import select_device
    from mmssl_dynamic.models import SDRResNet

    if args.threads:
        torch.set_num_threads(args.threads)
    device = select_device(args.device)
    torch.manual_seed(0)
    net = SDRResNet(args.depth, args.stage_channels, args.stage_groups, zero_init_residual=False).to(device).eval()
    bank = random_bank(net)
    splits = Splits(random_split(args.images // 2, args, device), random_split(args.images // 2, args, device))
    cost = complexity(net, net.subnets[0], args.size)
    print(
        f"ResNet-{args.depth}, {net.space.num_paths} paths of {cost} at {args.size} px, {args.images} images, {device}"
    )

    bank.apply(net, ["full"])
    pooled_features(net, splits.train)  # warm-up
    wall: dict[bool, list[float]] = {True: [], False: []}
    cpu: dict[bool, list[float]] = {True: [], False: []}
    results: list[RoutingResult] = []
    for _ in range(args.repeat):
        for share in (True, False):
            result, seconds = timed(net, bank, splits, share, args.memory_gib)
            wall[share].append(result.cost["seconds"])
            cpu[share].append(seconds)
            results.append(result)

    for name, router in fast_routers(net, bank, args).items() if args.fast else ():
        found = [router.route(splits, task=name) for _ in range(args.repeat)]
        seconds = min(result.cost["seconds"] for result in found)
        runs = found[0].cost["stage_runs"]
        print(
            f"{name}: {runs} stage runs per image, {seconds:.1f} s, {min(wall[False]) / seconds:.1f} times as fast as "
            f"one by one, {min(wall[True]) / seconds:.1f} times as fast as shared prefixes"
        )
    shared, alone = results[0].cost["stage_runs"], results[0].cost["stage_runs_one_by_one"]
    equal = all((result.subnets, result.full) == (results[0].subnets, results[0].full) for result in results)
    print(f"stage runs per image, full network included: {shared} with shared prefixes, {alone} one by one")
    for what, seconds in (("time", wall), ("CPU time", cpu)):
        if what == "time" or device.type == "cpu":
            fast, slow = min(seconds[True]), min(seconds[False])
            print(f"{what}: one by one {slow:.1f} s, shared prefixes {fast:.1f} s, ratio {slow / fast:.2f}")
    print(
        f"accuracies of all {len(results[0].subnets) + 1} networks equal to the last digit: {'yes' if equal else 'NO'}"
    )


if __name__ == "__main__":
    cli.run(main)
