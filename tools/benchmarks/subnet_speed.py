"""Speed of an active sub-network against its static twin, forward and backward, two views a step.

Prints the twin's time over the active sub-network's: 1.0 means that elastic layers cost nothing.
"""

import argparse

import torch
from timing import alternate, ratios, summary

from mmssl_dynamic import cli
from mmssl_dynamic.commands import shared
from mmssl_dynamic.cpu import keep_freed_memory
from mmssl_dynamic.engine.compiling import compile_options
from mmssl_dynamic.loading import select_device
from mmssl_dynamic.models.backbones import SDRResNet, SlimmableMobileNetV3, SlimmableResNet


def build(args):
    """The super-network and the sub-network that is timed."""
    if args.network == "mobilenet":
        return SlimmableMobileNetV3(norm_cfg=dict(type="BN")), args.subnet or "w0.75"
    if args.network == "resnet":
        blocks = ((2, 2, 2, 2), (3, 4, 6, 3))
        return SlimmableResNet(channels=(1.0, 1.25), blocks=blocks), args.subnet or "w1.0-d2222"
    return SDRResNet(depth=args.depth, stage_channels=args.stage_channels), args.subnet or "0-3-1-2"


def step(run, views, device, amp):
    with torch.autocast(device.type, torch.bfloat16, enabled=amp):
        loss = sum(run(view)[0].float().square().mean() for view in views)
    loss.backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--network", choices=("sdr", "mobilenet", "resnet"), default="sdr", help="super-network (default: sdr)"
    )
    parser.add_argument("--depth", type=int, default=50, help="of sdr")
    parser.add_argument("--stage-channels", type=int, nargs=4, help="of sdr (default: the package's)")
    parser.add_argument("--subnet", help="(default: 0-3-1-2, w0.75 or w1.0-d2222)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--amp", action="store_true", help="bfloat16 autocast")
    parser.add_argument("--channels-last", action="store_true")
    help = "compile both, by this backend of torch.compile (default: inductor)"
    parser.add_argument("--compile", nargs="?", const="inductor", metavar="BACKEND", help=help)
    parser.add_argument(
        "--no-keep-memory", action="store_true", help="let the C library return memory between steps (CPU)"
    )
    shared.add_device(parser)
    args = parser.parse_args()
    device = select_device(args.device)
    if args.no_keep_memory:
        keep_freed_memory(False)  # which every command begins with
    memory_format = torch.channels_last if args.channels_last else torch.contiguous_format

    torch.manual_seed(0)
    net, subnet = build(args)
    net = net.to(device, memory_format=memory_format).train()
    twin = net.static(subnet).to(memory_format=memory_format).train()
    if args.compile:
        for network in (net, twin):
            network.compile(**compile_options(dict(backend=args.compile)))
    shape = (args.batch_size, 3, args.image_size, args.image_size)
    views = [torch.randn(shape, device=device).contiguous(memory_format=memory_format) for _ in range(2)]

    def active() -> None:
        net.zero_grad(set_to_none=True)
        with net.subnet(subnet):
            step(net, views, device, args.amp)

    def static() -> None:
        twin.zero_grad(set_to_none=True)
        step(twin, views, device, args.amp)

    seconds = alternate({"static": static, "active": active}, args.rounds)
    speed = ratios(seconds["static"], seconds["active"])
    print(
        f"{type(net).__name__}, sub-network {subnet}, {args.batch_size} images of "
        f"{args.image_size} px, {device}{', bfloat16' if args.amp else ''}{', compiled' if args.compile else ''}"
    )
    print(f"static twin  {summary(seconds['static'])} s")
    print(f"active       {summary(seconds['active'])} s")
    print(f"speed of the active sub-network relative to its twin: {summary(speed)}")


if __name__ == "__main__":
    cli.run(main)
