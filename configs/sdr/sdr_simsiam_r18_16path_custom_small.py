# SDR on a folder of your own images on two cores: 64 px views, 16 paths that each are simsiam_r18_custom_small.py's network.
#
#   mmssl-dynamic train --preset small --data data/my_images --clusters work_dirs/my_clusters.npz
#   python tools/train.py configs/sdr/sdr_simsiam_r18_16path_custom_small.py --cfg-options data_root=data/my_images
#
# The preset also sets the epochs, so that the training sees about 128,000 images.
# Time and memory: tens of minutes on two cores; memory not measured. Result: not measured.
_base_ = [
    "../_base_/models/sdr_simsiam_r50.py",
    "../_base_/datasets/mocov2_views_64px.py",
    "../_base_/datasets/subnet_loader.py",
    "../_base_/schedules/sdr_sgd_200e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/my_images"
clusters_file = "work_dirs/my_clusters.npz"
# A run of simsiam_r18_custom_small.py, whose weights every path starts with; with it lr 0.02. None: random weights.
init_from = None
stage_groups = (1, 1, 4, 4)
# A stage with groups is 7/4 as wide, so that a path has SimSiam's widths.
stage_channels = tuple(
    width * 7 // 4 if groups > 1 else width for width, groups in zip((32, 64, 128, 256), stage_groups)
)
max_epochs = 64
schedule_epochs = max_epochs  # that the rate falls over: of this training and of what goes on from it
norm_cfg = dict(type="BN1d")

model = dict(
    init_cfg=dict(init_from=init_from),
    backbone=dict(
        depth=18,
        stage_groups=stage_groups,
        stage_channels=stage_channels,
        shared_ratio=3 / 7,
        stem_channels=32,
        norm_cfg=dict(type="BN"),
        zero_init_residual=True,
    ),
    neck=dict(hid_channels=512, out_channels=512, norm_cfg=norm_cfg),
    head=dict(predictor=dict(in_channels=512, hid_channels=128, out_channels=512, norm_cfg=norm_cfg)),
)
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    dataset=dict(
        type="mmssl_dynamic.SubnetDataset",
        stage_groups=stage_groups,
        clusters_file=clusters_file,
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
default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=2), progress=dict(label="SDR"))
auto_scale_lr = dict(base_batch_size=64)
