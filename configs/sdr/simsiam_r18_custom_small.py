# SimSiam on a folder of your own images on two cores: 64 px views, a ResNet-18 of half the width.
#
#   mmssl-dynamic train --preset small --algorithm simsiam --data data/my_images
#   python tools/train.py configs/sdr/simsiam_r18_custom_small.py --cfg-options data_root=data/my_images
#
# The preset also sets the epochs, so that the training sees about 128,000 images.
# Time and memory: tens of minutes on two cores; memory not measured. Result: not measured.
_base_ = [
    "../_base_/models/simsiam_r50.py",
    "../_base_/datasets/mocov2_views_64px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/simsiam_sgd_200e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/my_images"
max_epochs = 64
schedule_epochs = max_epochs  # that the rate falls over: of this training and of what goes on from it
norm_cfg = dict(type="BN1d")

model = dict(
    backbone=dict(depth=18, base_channels=32, stem_channels=32, norm_cfg=dict(type="BN"), zero_init_residual=True),
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
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2), progress=dict(label="SimSiam"))
auto_scale_lr = dict(base_batch_size=64)
