# SDR on Tiny-ImageNet (64 px), ResNet-18 with 16 paths, one device.
_base_ = [
    "../_base_/models/sdr_simsiam_r50.py",
    "../_base_/datasets/mocov2_views_64px.py",
    "../_base_/datasets/subnet_loader.py",
    "../_base_/schedules/sdr_sgd_200e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/tiny-imagenet-200/train"
clusters_file = "work_dirs/tinyin_clusters_16.npz"
stage_groups = (1, 1, 4, 4)
max_epochs = 200
norm_cfg = dict(type="BN")

model = dict(
    backbone=dict(depth=18, stage_groups=stage_groups, norm_cfg=norm_cfg),
    neck=dict(norm_cfg=dict(type="BN1d")),
    head=dict(predictor=dict(norm_cfg=dict(type="BN1d"))),
)
train_dataloader = dict(
    batch_size=256,
    num_workers=4,
    dataset=dict(
        type="mmssl_dynamic.SubnetDataset",
        stage_groups=stage_groups,
        clusters_file=clusters_file,
        dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    num_workers=4,
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.eval_pipeline}}),
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
param_scheduler = [dict(type="CosineAnnealingLR", T_max=max_epochs, by_epoch=True, begin=0, end=max_epochs)]
train_cfg = dict(max_epochs=max_epochs)
auto_scale_lr = dict(base_batch_size=256)
