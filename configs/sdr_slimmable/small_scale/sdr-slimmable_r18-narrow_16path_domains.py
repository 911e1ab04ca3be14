# The study of tasks and budgets on a mixed pool: sdr_r18-narrow_16path_domains.py's 16 paths, each at three widths. At
# its whole width a path has the size of simsiam_r18-narrow_domains.py's network.
#
#   python tools/train.py configs/sdr_slimmable/small_scale/sdr-slimmable_r18-narrow_16path_domains.py
#
# Time and memory: about six minutes of one core for 10 epochs of the study, 980 steps; memory not measured. Result: see
# docs/studies/budget.md.
_base_ = ["../../sdr/small_scale/sdr_r18-narrow_16path_domains.py"]

widths = (0.5, 0.75, 1.0)  # of a path; our reading
slim_stem = True  # narrower networks have a narrower stem, as in DSPNet; our reading: SDR's stem is whole
num_networks = 3  # widths of a path in a step; our reading: all of them
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
    dict(type="mmssl_dynamic.BNBankHook", images=500, batch_size=100, bn=("path",)),
]
