"""Cost of an SDR step against mmpretrain's SimSiam ResNet-50 step with the same batch, and of a whole training.

Times a step of W_0 and of a sub-network (with SiamKD, the optimiser step and the protection of inactive groups
included), and averages them over the phases of Algorithm 1: in a phase with S networks, uniform sampling draws W_0 once
in S steps. From the average follow images per second and the hours that ImageNet takes. All of it with both directions
of the losses in every step, and with one (directions=alternate). At the batch of the config:
python tools/benchmarks/sdr_step.py --batch-size 64 --amp --channels-last --rounds 50
"""

import argparse
import statistics

import torch
from memory import resident_bytes, step_bytes
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from mmpretrain.utils import register_all_modules
from timing import alternate, ratios, summary

from mmssl_dynamic import cli
from mmssl_dynamic.commands import shared
from mmssl_dynamic.engine import SubnetOptimWrapper
from mmssl_dynamic.loading import load_config, select_device
from mmssl_dynamic.subnets import FULL


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sdr", default="configs/sdr/sdr_simsiam_r50_256path.py")
    parser.add_argument("--simsiam", default="configs/sdr/simsiam_r50_8xb64-coslr-200e_in1k.py")
    parser.add_argument("--stage-channels", type=int, nargs=4, help="default: the config's")
    parser.add_argument("--subnet", default="0-3-1-2")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--amp", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--channels-last", action="store_true", help="weights and images in channels-last order")
    parser.add_argument("--epochs", type=int, default=200, help="of the training whose hours are printed")
    parser.add_argument("--gpus", type=int, default=8, help="that share it")
    parser.add_argument("--images", type=int, default=1_281_167, help="of the data set (default: ImageNet's)")
    shared.add_device(parser)
    args = parser.parse_args()
    device = select_device(args.device)
    register_all_modules(init_default_scope=False)

    both = build(args.sdr, device, args.stage_channels)
    one = build(args.sdr, device, args.stage_channels, directions="alternate")
    one.first_view = 0
    simsiam = build(args.simsiam, device)
    options = dict(lr=0.01, momentum=0.9, weight_decay=1e-4)
    both_wrapper, one_wrapper = (
        SubnetOptimWrapper(torch.optim.SGD(sdr.parameters(), **options)) for sdr in (both, one)
    )
    unprotected = OptimWrapper(torch.optim.SGD(both.parameters(), **options))
    simsiam_wrapper = OptimWrapper(torch.optim.SGD(simsiam.parameters(), **options))
    shape = (args.batch_size, 3, args.image_size, args.image_size)
    memory_format = torch.channels_last if args.channels_last else torch.contiguous_format
    views = [torch.randn(shape, device=device).to(memory_format=memory_format) for _ in range(2)]
    for model in (both, one, simsiam):
        model.to(memory_format=memory_format)

    def step(model, wrapper, name):
        with wrapper.optim_context(model), torch.autocast(device.type, torch.bfloat16, enabled=args.amp):
            losses = model.loss(views, samples(name, args.batch_size))
            total = sum(value for key, value in losses.items() if "loss" in key)
        wrapper.update_params(total)

    seconds = alternate(
        {
            "SimSiam": lambda: step(simsiam, simsiam_wrapper, FULL),
            "W_0": lambda: step(both, both_wrapper, FULL),
            "sub-network": lambda: step(both, both_wrapper, args.subnet),
            "sub-network, plain optimiser": lambda: step(both, unprotected, args.subnet),
            "W_0, one direction": lambda: step(one, one_wrapper, FULL),
            "sub-network, one direction": lambda: step(one, one_wrapper, args.subnet),
        },
        args.rounds,
    )
    space = both.backbone.space
    sizes = [len(space.phase(p)) for p in range(space.num_phases)]
    share = sum(1 / size for size in sizes) / len(sizes)  # of W_0 among all steps
    print(f"stage channels {both.backbone.stage_channels}, {args.batch_size} images of {args.image_size} px, {device}")
    for name, values in seconds.items():
        print(f"{name:30s} {summary(values)} s")
    for directions in ("", ", one direction"):
        full = ratios(seconds[f"W_0{directions}"], seconds["SimSiam"])
        sub = ratios(seconds[f"sub-network{directions}"], seconds["SimSiam"])
        average = [share * f + (1 - share) * s for f, s in zip(full, sub)]
        print(f"{f'W_0 step{directions} / SimSiam step':55s}{summary(full)}")
        print(f"{f'sub-network step{directions} / SimSiam step':55s}{summary(sub)}")
        print(f"average over {len(sizes)} equal phases, spaces of {sizes}{directions}: {summary(average)}")
    protection = ratios(seconds["sub-network"], seconds["sub-network, plain optimiser"])
    print(f"protecting inactive groups, factor on a step  {summary(protection)}")
    means = {"SimSiam": seconds["SimSiam"]}
    for directions in ("", ", one direction"):
        pairs = zip(seconds[f"W_0{directions}"], seconds[f"sub-network{directions}"])
        means[f"SDR{directions}"] = [share * a + (1 - share) * b for a, b in pairs]
    for name, values in means.items():
        rate = args.batch_size / statistics.median(values)
        hours = args.epochs * args.images / (rate * args.gpus) / 3600
        print(
            f"{name}: {rate:.1f} images/s; {args.epochs} epochs of {args.images:,} images on {args.gpus} such devices "
            f"take {hours:,.0f} hours, loading and communication not counted"
        )
    runs = {
        "SimSiam": (simsiam, simsiam_wrapper, FULL),
        "W_0": (both, both_wrapper, FULL),
        "sub-network": (both, both_wrapper, args.subnet),
        "W_0, one direction": (one, one_wrapper, FULL),
        "sub-network, one direction": (one, one_wrapper, args.subnet),
    }
    for name, (model, wrapper, _) in runs.items():
        bytes_ = resident_bytes(model, wrapper.optimizer) + step_bytes(lambda r=runs[name]: step(*r), device)
        print(f"peak memory, {name:26s} {bytes_ / 2**30:.2f} GiB")


if __name__ == "__main__":
    cli.run(main)
