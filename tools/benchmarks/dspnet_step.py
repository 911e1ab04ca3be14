"""Cost of a DSPNet step against BYOL steps of the same networks one by one: time, loading included, and peak memory.

Compute: one step of all widths (n networks at a time, every draw of them equally often) over the sum of the individual
BYOL steps; below 1.0 means that DSPNet is cheaper. Loading: reading, decoding, augmenting, collating and normalising a
batch of photographs with the config's own pipeline, which DSPNet needs once and the individual trainings once each; it
is timed alone, in one process, and added, so the ratio is of the work to be done, however many processes share it. The
peer is mmpretrain: its BYOL, over the same networks, with the pipeline that it ships for BYOL. Memory: weights,
optimiser state and the most that a step has alive, over that of BYOL with the largest network alone.

Everything takes turns in one run, so that a busy machine is as busy for all; ratios are taken round by round.
"""

import argparse
import math
import tempfile
from itertools import combinations, cycle

import torch
from memory import resident_bytes, step_bytes
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from photos import write_photos
from pipelines import batch_loader, own_pipeline, peer_pipeline, with_size
from timing import alternate, ratios, summary
from variants import Variant, add_variants, chosen, table

from mmssl_dynamic import cli
from mmssl_dynamic.commands import shared
from mmssl_dynamic.loading import find_config, load_config, select_device

CONFIG = "dspnet/dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"
DIRECTIONS = ("both", "both_of_largest", "alternate")


def parts(args):
    """Model config with plain norm layers."""
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    config = load_config(find_config(CONFIG)).model
    config.backbone.update(arch=args.arch, norm_cfg=dict(type="BN"))
    config.neck.norm_cfg = config.head.predictor.norm_cfg = dict(type="BN1d")
    config.data_preprocessor = dict(type="BaseDataPreprocessor")
    return config


def views(args, device, variant):
    """Two views as they come from the loader."""
    shape = (args.batch_size, 3, args.image_size, args.image_size)
    return [torch.randn(shape, device=device).to(memory_format=variant.memory_format) for _ in range(2)]


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)


def stepper(widths, args, device, variant, directions="both"):
    """A function that does one training step, of networks drawn anew each time; the model and its optimiser."""
    from mmpretrain.registry import MODELS

    config = parts(args)
    config.backbone.update(widths=widths)
    config.update(target_bn="batch", directions=directions)
    model = MODELS.build(config).to(device).train()
    variant.prepare(model)
    model.first_view = 0
    wrapper = variant.optim_wrapper(OptimWrapper, optimizer_of(model), device)
    data = dict(inputs=views(args, device, variant))
    draws = cycle(all_draws(model.backbone.subnets, args.num_networks))

    def step() -> None:
        model.networks = next(draws)
        model.train_step(data, wrapper)
        model.update_target(0.004)

    return step, model, wrapper.optimizer


def peer_stepper(width, args, device, variant):
    """The same of mmpretrain's BYOL over one network."""
    from mmpretrain.registry import MODELS

    config = parts(args)
    network = MODELS.build(dict(config.backbone, widths=[width])).plain_twin("full", norm_cfg=dict(type="BN"))
    MessageHub.get_current_instance().update_info("max_iters", 10**6)  # where its moving average looks
    model = MODELS.build(
        dict(
            type="BYOL",
            base_momentum=0.004,
            backbone=network,
            neck=dict(config.neck, type="NonLinearNeck", in_channels=network.output_widths[-1]),
            head=config.head,
            data_preprocessor=config.data_preprocessor,
        )
    )
    model.to(device).train()
    variant.prepare(model)
    wrapper = variant.optim_wrapper(OptimWrapper, optimizer_of(model), device)
    data = dict(inputs=views(args, device, variant))
    return lambda: model.train_step(data, wrapper)


def all_draws(names, num_networks):
    """Every draw of a sandwich step: smallest, largest and all choices of others, each as often in training."""
    if len(names) == 1:
        return [tuple(names)]
    between = combinations(names[1:-1], min(num_networks, len(names)) - 2)
    return [(names[0], *others, names[-1]) for others in between]


def measure(args, device, variant: Variant, load, peer_load) -> dict[str, str]:
    """Rows of one column."""
    together, model, optimizer = stepper(args.widths, args, device, variant)
    candidates = {"both": together, "load": load, "peer load": peer_load}
    for name in DIRECTIONS[1:]:
        candidates[name] = stepper(args.widths, args, device, variant, name)[0]
    alone = [stepper([width], args, device, variant) for width in args.widths]
    candidates["byol"] = lambda: [step() for step, _, _ in alone]
    if not args.no_peer:
        peers = [peer_stepper(width, args, device, variant) for width in args.widths]
        candidates["peer"] = lambda: [step() for step in peers]
    draws = len(all_draws(model.backbone.subnets, args.num_networks))
    # The networks of the first draws are seen for the first time there.
    seconds = alternate(candidates, args.rounds * draws, warm_up=draws, limit=args.seconds, whole=draws)

    def with_loading(steps, loads, times=1):
        return [a + times * b for a, b in zip(seconds[steps], seconds[loads])]

    trainings = len(alone)
    byol = with_loading("byol", "load", trainings)
    rows = {
        "DSPNet step (s)": summary(seconds["both"]),
        f"{trainings} BYOL steps (s)": summary(seconds["byol"]),
        "loading a batch, one process (s)": summary(seconds["load"]),
        "the same by mmpretrain's pipeline (s)": summary(seconds["peer load"]),
    }
    for name in DIRECTIONS:
        rows[f"{name}: DSPNet / BYOL, compute"] = summary(ratios(seconds[name], seconds["byol"]))
        rows[f"{name}: DSPNet / BYOL, with loading"] = summary(ratios(with_loading(name, "load"), byol))
    if not args.no_peer:
        peer = with_loading("peer", "peer load", trainings)
        rows[f"{trainings} BYOL steps of mmpretrain (s)"] = summary(seconds["peer"])
        for name in DIRECTIONS:
            loaded = ratios(with_loading(name, "load"), peer)
            rows[f"{name}: DSPNet / mmpretrain's BYOL, with loading"] = summary(loaded)
        rows["BYOL / mmpretrain's BYOL, compute"] = summary(ratios(seconds["byol"], seconds["peer"]))
        rows["BYOL / mmpretrain's BYOL, with loading"] = summary(ratios(byol, peer))
    step, largest, largest_optimizer = alone[-1]
    peak = resident_bytes(model, optimizer) + step_bytes(together, device)
    peak_alone = resident_bytes(largest, largest_optimizer) + step_bytes(step, device)
    rows["peak memory, DSPNet / the largest BYOL"] = (
        f"{peak / peak_alone:.3f} ({peak / 2**20:.0f} / {peak_alone / 2**20:.0f} MiB)"
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=("large", "small"), default="large")
    parser.add_argument("--widths", type=float, nargs="+", default=[0.5, 0.75, 1.0, 1.25, 1.5])
    parser.add_argument("--num-networks", type=int, default=4, help="n (default: 4)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2, help="over all draws of networks (default: 2)")
    parser.add_argument("--no-peer", action="store_true", help="leave out mmpretrain's BYOL")
    parser.add_argument("--images", metavar="DIR", help="images to load (default: scikit-image's)")
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
    torch.manual_seed(0)
    variants = chosen(args)
    with tempfile.TemporaryDirectory() as folder:
        if args.images is None:
            write_photos(folder)
        loaders = []
        for pipeline, preprocessor in (own_pipeline(CONFIG), peer_pipeline("BYOL")):
            steps = with_size(pipeline, args.image_size)
            loaders.append(batch_loader(steps, preprocessor, args.images or folder, args.batch_size))
        columns = [measure(args, device, variant, *loaders) for variant in variants]
    print(
        f"MobileNetV3-{args.arch}, widths {args.widths}, n = {args.num_networks}, {args.batch_size} images of "
        f"{args.image_size} px, {device}"
    )
    print(table({name: [column[name] for column in columns] for name in columns[0]}, variants))


if __name__ == "__main__":
    cli.run(main)
