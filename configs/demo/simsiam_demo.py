# SimSiam at the size of the demo: 32 px views, a narrow ResNet-18, minutes on two cores.
#
#   python tools/demo.py
#
# Time and memory: about five minutes on two cores for the whole demo. Result: the steps at work, and no evidence for or
# against the method.
_base_ = [
    "../_base_/models/simsiam_r50.py",
    "../_base_/datasets/mocov2_views_32px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/simsiam_sgd_200e.py",
    "../_base_/default_runtime.py",
]

data_root = "work_dirs/demo/data/pretrain"
max_epochs = 16
schedule_epochs = max_epochs  # that the rate falls over: of this training and of what goes on from it
norm_cfg = dict(type="BN1d")

model = dict(
    backbone=dict(depth=18, base_channels=32, stem_channels=32, norm_cfg=dict(type="BN"), zero_init_residual=False),
    neck=dict(in_channels=256, hid_channels=512, out_channels=512, norm_cfg=norm_cfg),
    head=dict(predictor=dict(in_channels=512, hid_channels=128, out_channels=512, norm_cfg=norm_cfg)),
)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    batch_size=128,
    num_workers=1,
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.eval_pipeline}}),
)
optim_wrapper = dict(optimizer=dict(lr=0.05, weight_decay=5e-4))
param_scheduler = [dict(type="CosineAnnealingLR", T_max=schedule_epochs, by_epoch=True, begin=0, end=schedule_epochs)]
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(
    logger=dict(interval=32), checkpoint=dict(interval=4, max_keep_ckpts=2), progress=dict(label="SimSiam")
)
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
]
