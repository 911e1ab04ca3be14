# SDR at the size of the demo: 16 paths through the last two stages of a narrow ResNet-18. The demo sets the number of paths
# that suits its images (stage_groups, stage_channels) and starts from its SimSiam (init_from).
#
#   python tools/demo.py
#
# Time and memory: about five minutes on two cores for the whole demo. Result: the steps at work, and no evidence for or
# against the method.
_base_ = [
    "../_base_/models/sdr_simsiam_r50.py",
    "../_base_/datasets/mocov2_views_32px.py",
    "../_base_/datasets/subnet_loader.py",
    "../_base_/schedules/sdr_sgd_200e.py",
    "../_base_/default_runtime.py",
]

data_root = "work_dirs/demo/data/pretrain"
clusters_file = "work_dirs/demo/clusters.npz"
stage_groups = (1, 1, 4, 4)
stage_channels = (32, 64, 224, 448)  # a sub-network uses 32, 64, 128 and 256, as simsiam_demo.py's network
max_epochs = 16
schedule_epochs = max_epochs  # that the rate falls over: of this training and of what goes on from it
norm_cfg = dict(type="BN1d")

model = dict(
    backbone=dict(
        depth=18,
        stage_groups=stage_groups,
        stage_channels=stage_channels,
        shared_ratio=3 / 7,
        stem_channels=32,
        norm_cfg=dict(type="BN"),
        zero_init_residual=False,
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
default_hooks = dict(
    logger=dict(interval=32), checkpoint=dict(interval=4, max_keep_ckpts=2), progress=dict(label="SDR")
)
custom_hooks = [
    dict(type="mmssl_dynamic.FixedPredictorLrHook"),
    dict(type="mmssl_dynamic.ProgressivePhaseHook", lengths={{_base_.phase_lengths}}),
    dict(type="mmssl_dynamic.DirectionHook"),
    dict(type="mmssl_dynamic.CollapseMonitorHook"),
    dict(type="mmssl_dynamic.BNBankHook", images=512, batch_size=128, bn=("path", "prefix")),
]
