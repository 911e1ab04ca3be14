# SDR on Tiny-ImageNet (64 px), ResNet-18 with 16 paths, one device.
#
#   python tools/train.py configs/sdr/simsiam_r18_tinyin.py
#   python tools/extract_features.py configs/sdr/simsiam_r18_tinyin.py work_dirs/simsiam_r18_tinyin/epoch_200.pth \
#       --out work_dirs/simsiam_r18_tinyin/features.npy
#   python tools/cluster.py work_dirs/simsiam_r18_tinyin/features.npy --num-clusters 16 --min-size 256 \
#       --out work_dirs/tinyin_clusters_16.npz
#   python tools/train.py configs/sdr/sdr_simsiam_r18_16path_tinyin.py
#
# Time, memory and result are not measured.
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
auto_scale_lr = dict(base_batch_size=256)
