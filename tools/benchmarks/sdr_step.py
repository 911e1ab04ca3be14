"""Cost of an SDR step against mmpretrain's SimSiam ResNet-50 step with the same batch.

Times a step of W_0 and of a sub-network (with SiamKD, the optimiser step and the protection of inactive groups
included), and averages them over the phases of Algorithm 1: in a phase with S networks, uniform sampling draws W_0 once
in S steps.
"""

import argparse

import torch
from mmengine.optim import OptimWrapper
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from mmpretrain.utils import register_all_modules
from timing import alternate, ratios, summary

from mmssl_dynamic import cli
from mmssl_dynamic.apis import load_config, select_device
from mmssl_dynamic.engine import SubnetOptimWrapper
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
    cli.add_device_argument(parser)
    args = parser.parse_args()
    device = select_device(args.device)
    register_all_modules(init_default_scope=False)

    sdr = build(args.sdr, device, args.stage_channels)
    simsiam = build(args.simsiam, device)
    options = dict(lr=0.01, momentum=0.9, weight_decay=1e-4)
    sdr_wrapper = SubnetOptimWrapper(torch.optim.SGD(sdr.parameters(), **options))
    unprotected = OptimWrapper(torch.optim.SGD(sdr.parameters(), **options))
    simsiam_wrapper = OptimWrapper(torch.optim.SGD(simsiam.parameters(), **options))
    shape = (args.batch_size, 3, args.image_size, args.image_size)
    views = [torch.randn(shape, device=device) for _ in range(2)]

    def step(model, wrapper, name):
        with wrapper.optim_context(model):
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


if __name__ == "__main__":
    cli.run(main)
