"""Cost of an SDR step against mmpretrain's SimSiam ResNet-50 step with the same batch, and of a whole training.

Times a step of W_0 and of a sub-network (with SiamKD, the optimiser step and the protection of inactive groups
included), and averages them over the phases of Algorithm 1: in a phase with S networks, uniform sampling draws W_0 once
in S steps. From the average follow images per second and the hours that ImageNet takes. All of it with both directions
of the losses in every step, and with one (directions=alternate). Loading is timed alone, in one process, by the own
pipeline and by the one that mmpretrain ships for SimSiam. Everything takes turns in one run, and ratios are taken round
by round. At the batch of the config:
python tools/benchmarks/sdr_step.py --batch-size 64 --channels-last --bf16 --compile --rounds 50
"""

import argparse
import math
import statistics
import tempfile

import torch
from memory import resident_bytes, step_bytes
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from mmpretrain.utils import register_all_modules
from photos import write_photos
from pipelines import batch_loader, own_pipeline, peer_pipeline, with_size
from timing import alternate, ratios, summary
from variants import Variant, add_variants, chosen, table

from mmssl_dynamic import cli
from mmssl_dynamic.commands import shared
from mmssl_dynamic.engine import SubnetOptimWrapper
from mmssl_dynamic.loading import load_config, select_device
from mmssl_dynamic.subnets import FULL

PIPELINE = "sdr/sdr_simsiam_r50_256path.py"


def plain_norms(node):
    """The config's SyncBN as the BatchNorm of one device."""
    for key, child in list(node.items()):
        if key == "norm_cfg":
            kind = "BN" if node["type"].endswith("ResNet") else "BN1d"
            node[key] = dict(type=kind)
        elif isinstance(child, dict):
            plain_norms(child)


def build(path, device, channels=None, **options):
    model = load_config(path).model
    model.update(options)
    plain_norms(model)
    if channels:
        model.backbone.stage_channels = channels
    torch.manual_seed(0)
    return MODELS.build(model).to(device).train()


def samples(name, count):
    batch = [DataSample() for _ in range(count)]
    for sample in batch:
        sample.set_field(name, "subnet", field_type="metainfo")
    return batch


def measure(args, device, variant: Variant, loaders: dict) -> dict[str, str]:
    """Rows of one column."""
    both = build(args.sdr, device, args.stage_channels)
    simsiam = build(args.simsiam, device)
    models = {"": both}
    if not args.both_directions:
        models[", one direction"] = build(args.sdr, device, args.stage_channels, directions="alternate")
        models[", one direction"].first_view = 0
    variant.prepare(simsiam, *models.values())
    shape = (args.batch_size, 3, args.image_size, args.image_size)
    views = [torch.randn(shape, device=device).to(memory_format=variant.memory_format) for _ in range(2)]

    def wrapper(model, kind=SubnetOptimWrapper):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
        return variant.optim_wrapper(kind, optimizer, device)

    runs = {
        "SimSiam": (simsiam, wrapper(simsiam, OptimWrapper), FULL),
        "sub-network, plain optimiser": (both, wrapper(both, OptimWrapper), args.subnet),
    }
    for directions, model in models.items():
        of_both = wrapper(model)  # W_0 and its sub-networks have one optimiser
        runs[f"W_0{directions}"] = (model, of_both, FULL)
        runs[f"sub-network{directions}"] = (model, of_both, args.subnet)

    def step(model, wrapper, name):
        with wrapper.optim_context(model):
            losses = model.loss(views, samples(name, args.batch_size))
            total = sum(value for key, value in losses.items() if "loss" in key)
        wrapper.update_params(total)

    candidates = {name: lambda run=run: step(*run) for name, run in runs.items()}
    seconds = alternate({**candidates, **loaders}, args.rounds, limit=args.seconds)
    space = both.backbone.space
    sizes = [len(space.phase(p)) for p in range(space.num_phases)]
    share = sum(1 / size for size in sizes) / len(sizes)  # of W_0 among all steps
    rows = {f"{name} (s)": summary(values) for name, values in seconds.items()}
    means = {"SimSiam": seconds["SimSiam"]}
    own_load, peer_load = (seconds[name] for name in loaders)
    peer = [a + b for a, b in zip(seconds["SimSiam"], peer_load)]
    for directions in models:
        full, sub = seconds[f"W_0{directions}"], seconds[f"sub-network{directions}"]
        average = means[f"SDR{directions}"] = [share * f + (1 - share) * s for f, s in zip(full, sub)]
        rows[f"W_0{directions} / SimSiam"] = summary(ratios(full, seconds["SimSiam"]))
        rows[f"sub-network{directions} / SimSiam"] = summary(ratios(sub, seconds["SimSiam"]))
        rows[f"mean over {len(sizes)} phases{directions} / SimSiam"] = summary(ratios(average, seconds["SimSiam"]))
        loaded = [a + b for a, b in zip(average, own_load)]
        rows[f"the same with loading / mmpretrain{directions}"] = summary(ratios(loaded, peer))
    protection = ratios(seconds["sub-network"], seconds["sub-network, plain optimiser"])
    rows["protecting inactive groups, factor on a step"] = summary(protection)
    for name, values in means.items():
        rate = args.batch_size / statistics.median(values)
        hours = args.epochs * args.images / (rate * args.gpus) / 3600
        rows[f"{name}: images/s, hours of a training"] = f"{rate:.1f}, {hours:,.0f}"
    for name, (model, wrapper_, _) in runs.items():
        if "plain" not in name:
            peak = resident_bytes(model, wrapper_.optimizer) + step_bytes(candidates[name], device)
            rows[f"peak memory, {name} (GiB)"] = f"{peak / 2**30:.2f}"
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sdr", default="configs/sdr/sdr_simsiam_r50_256path.py")
    parser.add_argument("--simsiam", default="configs/sdr/simsiam_r50_8xb64-coslr-200e_in1k.py")
    parser.add_argument("--stage-channels", type=int, nargs=4, help="default: the config's")
    parser.add_argument("--subnet", default="0-3-1-2")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--both-directions", action="store_true", help="leave out the steps with directions=alternate")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=200, help="of the training whose hours are printed")
    parser.add_argument("--gpus", type=int, default=8, help="that share it")
    parser.add_argument("--images", type=int, default=1_281_167, help="of the data set (default: ImageNet's)")
    parser.add_argument(
        "--seconds",
        type=float,
        default=math.inf,
        help="of a column, after which no further round begins (default: no limit)",
    )
    add_variants(parser)
    shared.add_device(parser)
    args = parser.parse_args()
    device = select_device(args.device)
    register_all_modules(init_default_scope=False)
    variants = chosen(args)
    with tempfile.TemporaryDirectory() as folder:
        write_photos(folder)
        loaders = {}
        for name, (pipeline, preprocessor) in {
            "loading, one process": own_pipeline(PIPELINE),
            "loading by mmpretrain's pipeline": peer_pipeline("SimSiam"),
        }.items():
            steps = with_size(pipeline, args.image_size)
            loaders[name] = batch_loader(steps, preprocessor, folder, args.batch_size)
        columns = [measure(args, device, variant, loaders) for variant in variants]
    print(f"{args.batch_size} images of {args.image_size} px, {device}; hours: loading and communication not counted")
    print(f"{args.epochs} epochs of {args.images:,} images on {args.gpus} such devices")
    print(table({name: [column[name] for column in columns] for name in columns[0]}, variants))


if __name__ == "__main__":
    cli.run(main)
