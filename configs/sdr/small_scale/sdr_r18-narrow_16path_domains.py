# The study of a mixed pool: SDR whose 16 paths have exactly the widths of simsiam_r18-narrow_domains.py.
#
#   python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_domains.py
#
# Time and memory: about half an hour on one core for 1,560 steps, as in the study; memory not measured. Result: see
# docs/studies/domains.md.
_base_ = ["./sdr_r18-narrow_16path.py"]

data_root = "data/domains/pool"
clusters_file = "work_dirs/domains_clusters_16.npz"
image_size = 48
view_pipeline = _base_.view_pipeline
train_pipeline = _base_.train_pipeline
train_pipeline[1]["transforms"] = [view_pipeline]
eval_pipeline = _base_.eval_pipeline
eval_pipeline[1]["scale"] = image_size
eval_pipeline[2]["crop_size"] = image_size

# Of a stage of 168 channels 72 are shared, and each of 4 groups has 24: a path has 96.
model = dict(backbone=dict(stage_channels=(24, 48, 168, 336), shared_ratio=3 / 7))
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(clusters_file=clusters_file, dataset=dict(data_root=data_root, pipeline=train_pipeline)),
)
extract_dataloader = dict(num_workers=0, dataset=dict(data_root=data_root, pipeline=eval_pipeline))
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook", lengths={{_base_.phase_lengths}}),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=500, batch_size=100, bn=("path",)),
]
