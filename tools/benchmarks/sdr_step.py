"""Cost of an SDR step against mmpretrain's SimSiam ResNet-50 step with the same batch, and of a whole training.

Times a step of W_0 and of a sub-network (with SiamKD, the optimiser step and the protection of inactive groups
included), and averages them over the phases of Algorithm 1: in a phase with S networks, uniform sampling draws W_0 once
in S steps. From the average follow images per second and the hours that ImageNet takes. At the batch of the config:
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
from mmssl_dynamic.engine.cpu import prepare_cpu
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


def build(path, device, channels=None):
    model = load_config(path).model
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
    prepare_cpu()  # as tools/train.py does
    register_all_modules(init_default_scope=False)

    sdr = build(args.sdr, device, args.stage_channels)
    simsiam = build(args.simsiam, device)
    options = dict(lr=0.01, momentum=0.9, weight_decay=1e-4)
    sdr_wrapper = SubnetOptimWrapper(torch.optim.SGD(sdr.parameters(), **options))
    unprotected = OptimWrapper(torch.optim.SGD(sdr.parameters(), **options))
    simsiam_wrapper = OptimWrapper(torch.optim.SGD(simsiam.parameters(), **options))
    shape = (args.batch_size, 3, args.image_size, args.image_size)
    memory_format = torch.channels_last if args.channels_last else torch.contiguous_format
    views = [torch.randn(shape, device=device).to(memory_format=memory_format) for _ in range(2)]
    for model in (sdr, simsiam):
        model.to(memory_format=memory_format)

    def step(model, wrapper, name):
        with wrapper.optim_context(model), torch.autocast(device.type, torch.bfloat16, enabled=args.amp):
            losses = model.loss(views, samples(name, args.batch_size))
            total = sum(value for key, value in losses.items() if "loss" in key)
        wrapper.update_params(total)

    seconds = alternate(
        {
            "SimSiam": lambda: step(simsiam, simsiam_wrapper, FULL),
            "W_0": lambda: step(sdr, sdr_wrapper, FULL),
            "sub-network": lambda: step(sdr, sdr_wrapper, args.subnet),
            "sub-network, plain optimiser": lambda: step(sdr, unprotected, args.subnet),
        },
        args.rounds,
    )
    space = sdr.backbone.space
    sizes = [len(space.phase(p)) for p in range(space.num_phases)]
    share = sum(1 / size for size in sizes) / len(sizes)  # of W_0 among all steps
    full = ratios(seconds["W_0"], seconds["SimSiam"])
    sub = ratios(seconds["sub-network"], seconds["SimSiam"])
    average = [share * f + (1 - share) * s for f, s in zip(full, sub)]
    print(f"stage channels {sdr.backbone.stage_channels}, {args.batch_size} images of {args.image_size} px, {device}")
    for name, values in seconds.items():
        print(f"{name:30s} {summary(values)} s")
    print(f"W_0 step / SimSiam step                       {summary(full)}")
    print(f"sub-network step / SimSiam step               {summary(sub)}")
    print(f"average over {len(sizes)} equal phases, spaces of {sizes}: {summary(average)}")
    protection = ratios(seconds["sub-network"], seconds["sub-network, plain optimiser"])
    print(f"protecting inactive groups, factor on a step  {summary(protection)}")
    mean = [share * a + (1 - share) * b for a, b in zip(seconds["W_0"], seconds["sub-network"])]
    for name, values in (("SimSiam", seconds["SimSiam"]), ("SDR", mean)):
        rate = args.batch_size / statistics.median(values)
        hours = args.epochs * args.images / (rate * args.gpus) / 3600
        print(
            f"{name}: {rate:.1f} images/s; {args.epochs} epochs of {args.images:,} images on {args.gpus} such devices "
            f"take {hours:,.0f} hours, loading and communication not counted"
        )
    runs = {
        "SimSiam": (simsiam, simsiam_wrapper, FULL),
        "W_0": (sdr, sdr_wrapper, FULL),
        "sub-network": (sdr, sdr_wrapper, args.subnet),
    }
    for name, (model, wrapper, _) in runs.items():
        bytes_ = resident_bytes(model, wrapper.optimizer) + step_bytes(lambda r=runs[name]: step(*r), device)
        print(f"peak memory, {name:12s} {bytes_ / 2**30:.2f} GiB")


if __name__ == "__main__":
    cli.run(main)
