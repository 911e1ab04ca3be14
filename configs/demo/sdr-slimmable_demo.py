# Paths of three widths at the size of the demo: sdr_demo.py's 16 paths, each at half, three quarters and all of its width.
#
#   python tools/train.py configs/demo/sdr-slimmable_demo.py --cfg-options data_root=data/my_images \
#       clusters_file=work_dirs/my_clusters.npz
#
# Time and memory: minutes on two cores; memory not measured. Result: not measured by itself; the study of tasks and
# budgets has it at 48 px.
_base_ = ["./sdr_demo.py"]

widths = (0.5, 0.75, 1.0)  # of a path; our reading
slim_stem = True  # narrower networks have a narrower stem, as in DSPNet; our reading: SDR's stem is whole
num_networks = 3  # widths of a path in a step; our reading: all of them
warmup_epochs = 0  # in which paths train at their whole width alone; our reading: phase 0 is a warm-up already

model = dict(
    type="mmssl_dynamic.SDRSlimmable",
    backbone=dict(type="mmssl_dynamic.SDRSlimmableResNet", widths=widths, slim_stem=slim_stem),
)
model_wrapper_cfg = dict(type="mmssl_dynamic.SandwichDataParallel")
default_hooks = dict(progress=dict(label="SDR at three widths"))
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook", lengths={{_base_.phase_lengths}}),
    dict(type="mmssl_dynamic.SandwichHook", num_networks=num_networks, warmup_epochs=warmup_epochs),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=512, batch_size=128, bn=("path", "prefix")),
]
