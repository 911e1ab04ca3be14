# The study of slimmable networks on a mixed pool: the networks of slimmable-simsiam_r18-narrow_domains.py on BYOL, as in
# the paper.
#
#   python tools/train.py configs/dspnet/small_scale/dspnet_r18-narrow_domains.py
#
# Time and memory: ten minutes on one core for 10 epochs of the study; memory not measured. Result: see
# docs/studies/dspnet.md.
_base_ = ["../../demo/dspnet_demo.py"]

data_root = "data/domains/pool"
image_size = 48
max_epochs = 20
warmup_epochs = 1
num_networks = 3
any_width = False
same_view = 0.0
dynamic_sampling = False
favour_small = 0.0
loss_weights = "equal"
group_alpha = 0.0
init_from = None  # weights of the largest network to start from, see FromPlain; None: random ones, as in the paper
view_pipeline = _base_.view_pipeline
view_pipeline[0]["size"] = image_size
train_pipeline = _base_.train_pipeline
train_pipeline[1]["transforms"] = [view_pipeline]
eval_pipeline = _base_.eval_pipeline
eval_pipeline[1]["scale"] = image_size
eval_pipeline[2]["crop_size"] = image_size

model = dict(
    init_cfg=dict(init_from=init_from),
    same_view=same_view,
    backbone=dict(channels=(0.1875, 0.28125, 0.375), any_width=any_width),
)
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(dataset=dict(data_root=data_root, pipeline=train_pipeline)),
)
extract_dataloader = dict(num_workers=0, dataset=dict(data_root=data_root, pipeline=eval_pipeline))
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, begin=0, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=1, end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1))
custom_hooks = [
    dict(
        type="mmssl_dynamic.SandwichHook",
        num_networks=num_networks,
        warmup_epochs=warmup_epochs,
        dynamic_sampling=dynamic_sampling,
        favour_small=favour_small,
        loss_weights=loss_weights,
    ),
    dict(type="mmssl_dynamic.GroupRegularizationHook", alpha=group_alpha, warmup_epochs=warmup_epochs),
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.01),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200),
]
