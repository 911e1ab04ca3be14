# A network for every task and budget out of one training, on a folder of your own images, one GPU: SDR's 16 paths, each
# at four widths. At its whole width a path is a stock ResNet-50: it can start as one, and an export of it is one.
#
#   python tools/train.py configs/sdr_slimmable/sdr-slimmable_simsiam_r50_16path_custom.py
#
# Time and memory: not measured; it grows with the images. Result: not measured; with fewer than a million images set
# init_from.
_base_ = ["../sdr/sdr_simsiam_r50_16path_custom.py"]

widths = (0.25, 0.5, 0.75, 1.0)  # of a path; our reading
slim_stem = True  # narrower networks have a narrower stem, as in DSPNet; our reading: SDR's stem is whole
num_networks = 3  # widths of a path in a step: the path, its narrowest, random others; our reading: DSPNet has 4 of 5
warmup_epochs = 0  # in which paths train at their whole width alone; our reading: phase 0 is a warm-up already

model = dict(
    type="mmssl_dynamic.SDRSlimmable",
    backbone=dict(type="mmssl_dynamic.SDRSlimmableResNet", widths=widths, slim_stem=slim_stem),
)
model_wrapper_cfg = dict(type="mmssl_dynamic.SandwichDataParallel")
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook", lengths={{_base_.phase_lengths}}),
    dict(type="mmssl_dynamic.SandwichHook", num_networks=num_networks, warmup_epochs=warmup_epochs),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200, bn=("path", "prefix")),
]
