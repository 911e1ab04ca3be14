# SDR on BYOL on Tiny-ImageNet (64 px), ResNet-18 with 16 paths, one device. The clusters of SimSiam's features serve here,
# too: see sdr_simsiam_r18_16path_tinyin.py.
#
#   python tools/train.py configs/sdr/sdr_byol_r18_16path_tinyin.py
#
# Time, memory and result are not measured.
_base_ = [
    "../_base_/models/sdr_byol_r50.py",
    "../_base_/datasets/mocov2_views_64px.py",
    "../_base_/datasets/subnet_loader.py",
    "../_base_/schedules/byol_lars_400e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/tiny-imagenet-200/train"
clusters_file = "work_dirs/tinyin_clusters_16.npz"
stage_groups = (1, 1, 4, 4)
student_bn = "BN"
norm_cfg = dict(type=student_bn)
head_norm_cfg = dict(type="BN1d" if student_bn == "BN" else student_bn)

model = dict(
    backbone=dict(depth=18, stage_groups=stage_groups, norm_cfg=norm_cfg),
    neck=dict(hid_channels=2048, norm_cfg=head_norm_cfg),
    head=dict(predictor=dict(hid_channels=2048, norm_cfg=head_norm_cfg)),
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
# SGD: LARS is for batches of thousands.
optim_wrapper = dict(
    type="mmssl_dynamic.SubnetOptimWrapper",
    optimizer=dict(_delete_=True, type="SGD", lr=0.1, momentum=0.9, weight_decay=1e-4),
    paramwise_cfg=dict(_delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0),
)
auto_scale_lr = dict(base_batch_size=256)
