# DSPNet at the size of the demo: six narrow ResNets (three widths, two depths) at 32 px, minutes on two cores.
#
#   python tools/demo_dspnet.py
#
# Time and memory: about five minutes on two cores for the whole demo. Result: the steps at work, and no evidence for or
# against the method.
_base_ = [
    "../_base_/models/dspnet_mobilenet_v3.py",
    "../_base_/datasets/mocov2_views_32px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/dspnet_lars_300e.py",
    "../_base_/default_runtime.py",
]

data_root = "work_dirs/demo-dspnet/data/pretrain"
max_epochs = 12
warmup_epochs = 1
num_networks = 4
student_bn = "mmssl_dynamic.SyncBN"
norm_cfg = dict(type=student_bn)
head_norm_cfg = dict(type="BN1d" if student_bn == "BN" else student_bn)

model = dict(
    target_bn="batch",
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableResNet",
        channels=(0.25, 0.375, 0.5),
        blocks=((1, 1, 1, 1), (2, 2, 2, 2)),
        zero_init_residual=False,
        norm_cfg=norm_cfg,
    ),
    neck=dict(hid_channels=512, out_channels=128, norm_cfg=head_norm_cfg),
    head=dict(predictor=dict(in_channels=128, hid_channels=512, out_channels=128, norm_cfg=head_norm_cfg)),
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
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=1e-3, by_epoch=True, begin=0, end=warmup_epochs, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", by_epoch=True, begin=warmup_epochs, end=max_epochs, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=max_epochs)
default_hooks = dict(
    logger=dict(interval=32), checkpoint=dict(interval=4, max_keep_ckpts=2), progress=dict(label="DSPNet")
)
custom_hooks = [
    dict(type="mmssl_dynamic.SandwichHook", num_networks=num_networks, warmup_epochs=warmup_epochs),
    dict(type="mmssl_dynamic.TargetEMAHook", base_momentum=0.03),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=1024, batch_size=128),
]
auto_scale_lr = dict(base_batch_size=64)
