# SimSiam on Tiny-ImageNet (64 px), ResNet-18, one device: the features that are clustered for 16 paths.
#
#   python tools/train.py configs/sdr/simsiam_r18_tinyin.py
#
# Time, memory and result are not measured.
_base_ = [
    "../_base_/models/simsiam_r50.py",
    "../_base_/datasets/mocov2_views_64px.py",
    "../_base_/datasets/resumable_loader.py",
    "../_base_/schedules/simsiam_sgd_200e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/tiny-imagenet-200/train"
norm_cfg = dict(type="BN")

model = dict(
    backbone=dict(depth=18, norm_cfg=norm_cfg),
    neck=dict(in_channels=512, norm_cfg=dict(type="BN1d")),
    head=dict(predictor=dict(norm_cfg=dict(type="BN1d"))),
)
train_dataloader = dict(
    batch_size=256,
    num_workers=4,
    dataset=dict(
        type="mmssl_dynamic.SeededDataset",
        dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    num_workers=4,
    dataset=dict(type="mmssl_dynamic.ImageFolder", data_root=data_root, pipeline={{_base_.eval_pipeline}}),
)
optim_wrapper = dict(optimizer=dict(lr=0.05))
auto_scale_lr = dict(base_batch_size=256)
