# MobileNetV3-small at three widths on SimSiam, on the mixed pool, 64 px: what docs/deploy.md measures INT8 with. A step
# trains all of them.
#
#   python tools/train.py configs/dspnet/small_scale/slimmable-simsiam_mobilenet-v3_domains.py
#
# Time and memory: half an hour on one busy core, six epochs; memory not measured. Result: kNN accuracies before and after
# INT8 in docs/deploy.md.
_base_ = ["../../demo/slimmable-simsiam_demo.py"]

data_root = "data/domains/pool"
image_size = 64
max_epochs = 6
warmup_epochs = 1
num_networks = 3
init_from = None  # weights of the largest network to start from, see FromPlain; None: random ones
view_pipeline = _base_.view_pipeline
view_pipeline[0]["size"] = image_size
train_pipeline = _base_.train_pipeline
train_pipeline[1]["transforms"] = [view_pipeline]
eval_pipeline = _base_.eval_pipeline
eval_pipeline[1]["scale"] = image_size
eval_pipeline[2]["crop_size"] = image_size

model = dict(
    init_cfg=dict(init_from=init_from),
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableMobileNetV3",
        arch="small",
        widths=(0.5, 0.75, 1.0),
        norm_cfg={{_base_.norm_cfg}},
    ),
)
train_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(dataset=dict(data_root=data_root, pipeline=train_pipeline)),
)
extract_dataloader = dict(num_workers=0, dataset=dict(data_root=data_root, pipeline=eval_pipeline))
param_scheduler = [dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs)]
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=1))
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.SandwichHook", num_networks=num_networks, warmup_epochs=warmup_epochs),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=2000, batch_size=200),
]
