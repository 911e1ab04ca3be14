# The small-scale study of docs/studies: SDR with 16 paths; sub-networks about as large as simsiam_r18-narrow.py's backbone.
#
#   python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path.py
#
# Time and memory: about half an hour on one core for 1,560 steps, as in the study; memory not measured. Result: see
# docs/studies/sdr_small_scale.md.
_base_ = ["../sdr_simsiam_r18_16path_tinyin.py"]

image_size = 48
max_epochs = 10
schedule_epochs = max_epochs  # that the rate falls over: of this training and of what goes on from it
view_pipeline = _base_.view_pipeline
view_pipeline[0]["size"] = image_size
train_pipeline = _base_.train_pipeline
train_pipeline[1]["transforms"] = [view_pipeline]

model = dict(
    backbone=dict(stage_channels=(24, 48, 160, 320), stem_channels=24),
    neck=dict(hid_channels=512, out_channels=512),
    head=dict(predictor=dict(in_channels=512, hid_channels=128, out_channels=512)),
)
train_dataloader = dict(batch_size=64, num_workers=1, dataset=dict(dataset=dict(pipeline=train_pipeline)))
extract_dataloader = dict(batch_size=256, num_workers=1)
param_scheduler = [dict(type="CosineAnnealingLR", T_max=schedule_epochs, by_epoch=True, begin=0, end=schedule_epochs)]
train_cfg = dict(max_epochs=max_epochs)
optim_wrapper = dict(optimizer=dict(lr=0.03))
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook", lengths={{_base_.phase_lengths}}),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=500, batch_size=100, bn=("path", "prefix")),
]
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1))
auto_scale_lr = dict(base_batch_size=64)
