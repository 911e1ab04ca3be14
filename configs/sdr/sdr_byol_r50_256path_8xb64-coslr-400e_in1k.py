# SDR on BYOL on ImageNet: 256 paths, 8 GPUs x 64 images, 400 epochs. The clusters are those of sdr_simsiam_r50_256path.py,
# or of features of byol_r50_8xb64-coslr-400e_in1k.py, made in the same way.
#
#   tools/dist_train.sh configs/sdr/sdr_byol_r50_256path_8xb64-coslr-400e_in1k.py 8
#
# Time and memory: not measured. Result: the paper's Table 1 has 78.23 % for the routed paths, a mean of eleven data
# sets (BYOL: 75.95); not measured here.
_base_ = [
    "../_base_/models/sdr_byol_r50.py",
    "../_base_/datasets/byol_views_224px.py",
    "../_base_/datasets/subnet_loader.py",
    "../_base_/schedules/byol_lars_400e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/imagenet/"
clusters_file = "work_dirs/clusters_256.npz"
stage_groups = (4, 4, 4, 4)
rarity_power = 0.0  # longer steps for rarely drawn groups, see SubnetOptimWrapper; 0: one rate, as in the paper

model = dict(backbone=dict(stage_groups=stage_groups))
optim_wrapper = dict(type="mmssl_dynamic.SubnetOptimWrapper", rarity_power=rarity_power)
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        type="mmssl_dynamic.SubnetDataset",
        stage_groups=stage_groups,
        clusters_file=clusters_file,
        dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.train_pipeline}}),
    ),
)
extract_dataloader = dict(
    dataset=dict(type="ImageNet", data_root=data_root, split="train", pipeline={{_base_.eval_pipeline}}),
)
