# DSPNet on a folder of your own images on two cores: 64 px views, ResNet-18 at 1/4, 3/8 and 1/2 of its width.
#
#   mmssl-dynamic train --preset small --algorithm dspnet --data data/my_images
#   python tools/train.py configs/dspnet/dspnet_r18_custom_small.py --cfg-options data_root=data/my_images
#
# The preset also sets the epochs, so that the training sees about 128,000 images.
# Time and memory: tens of minutes on two cores; memory not measured. Result: not measured.
_base_ = [
    "../_base_/models/dspnet_mobilenet_v3.py",
    "../_base_/datasets/mocov2_views_64px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/dspnet_lars_300e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/my_images"
# A run of byol_r18_custom_small.py, which the largest network starts as. None: random weights.
init_from = None
max_epochs = 64
warmup_epochs = 2
widths = (0.25, 0.375, 0.5)
num_networks = 3
student_bn = "BN"
norm_cfg = dict(type=student_bn)
head_norm_cfg = dict(type="BN1d" if student_bn == "BN" else student_bn)

model = dict(
    init_cfg=dict(init_from=init_from),
    target_bn="batch",
    backbone=dict(
        _delete_=True,
        type="mmssl_dynamic.SlimmableResNet",
        channels=widths,
        any_width={{_base_.any_width}},
        blocks=((2, 2, 2, 2),),
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
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2), progress=dict(label="DSPNet"))
custom_hooks = _base_.custom_hooks
custom_hooks[0].update(num_networks=num_networks, warmup_epochs=warmup_epochs)
custom_hooks[1].update(warmup_epochs=warmup_epochs)
custom_hooks[2].update(base_momentum=0.03)  # few steps: a target that follows sooner
auto_scale_lr = dict(base_batch_size=64)
