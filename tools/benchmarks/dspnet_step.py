"""Cost of a DSPNet step against BYOL steps of the same networks one by one: time, and peak memory.

Time: one step of all five widths (n networks at a time, averaged over draws) over the sum of five individual BYOL
steps; below 1.0 means that DSPNet is cheaper. Images are made once, so this is compute alone.
"""

import argparse

import torch
from mmengine.optim import OptimWrapper
from timing import alternate, ratios, summary

from mmssl_dynamic import cli
from mmssl_dynamic.apis import load_config, select_device
from mmssl_dynamic.apis.loading import find_config
from mmssl_dynamic.engine.allocator import keep_freed_memory
from mmssl_dynamic.models.selfsup.sandwich import draw_networks


def stepper(widths, args, device):
    """A function that does one training step, of networks drawn anew each time."""
    from mmpretrain.registry import MODELS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    config = load_config(find_config("dspnet/dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py")).model
    config.backbone.update(arch=args.arch, widths=widths, norm_cfg=dict(type="BN"))
    config.target_bn = "batch"
    config.neck.norm_cfg = config.head.predictor.norm_cfg = dict(type="BN1d")
    config.data_preprocessor = dict(type="BaseDataPreprocessor")
    model = MODELS.build(config).to(device).train()
    names = model.backbone.subnets
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9))
    shape = (args.batch_size, 3, args.image_size, args.image_size)
    data = dict(inputs=[torch.randn(shape, device=device) for _ in range(2)])
    count = iter(range(10**9))

    def step() -> None:
        model.networks = draw_networks(names, min(args.num_networks, len(names)), 0, next(count))
        model.train_step(data, wrapper)
        model.update_target(0.004)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=("large", "small"), default="large")
    parser.add_argument("--widths", type=float, nargs="+", default=[0.5, 0.75, 1.0, 1.25, 1.5])
    parser.add_argument("--num-networks", type=int, default=4, help="n (default: 4)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    cli.add_device_argument(parser)
    args = parser.parse_args()
    device = select_device(args.device)
    if device.type == "cpu":
        keep_freed_memory()  # as tools/train.py does
    torch.manual_seed(0)
    together = stepper(args.widths, args, device)
    alone = [stepper([width], args, device) for width in args.widths]
    seconds = alternate({"dspnet": together, "byol": lambda: [step() for step in alone]}, args.rounds)
    print(
        f"MobileNetV3-{args.arch}, widths {args.widths}, n = {args.num_networks}, {args.batch_size} images of "
        f"{args.image_size} px, {device}"
    )
    print(f"DSPNet step            {summary(seconds['dspnet'])} s")
    print(f"{len(alone)} BYOL steps           {summary(seconds['byol'])} s")
    print(f"DSPNet over BYOL steps {summary(ratios(seconds['dspnet'], seconds['byol']))}")
    if device.type == "cuda":
        peaks = []
        for step in (together, alone[-1]):
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            step()
            peaks.append(torch.cuda.max_memory_allocated() - before)
        print(f"peak memory of activations and gradients, DSPNet over the largest BYOL: {peaks[0] / peaks[1]:.3f}")


if __name__ == "__main__":
    cli.run(main)
