# SDR on MoCo-v2 on ImageNet: 256 paths, 8 GPUs x 32 images, 200 epochs. The paper has SimSiam and BYOL; this is the third
# base method, and the example of how to add one. The clusters are those of sdr_simsiam_r50_256path.py.
#
#   tools/dist_train.sh configs/sdr/sdr_mocov2_r50_256path_8xb32-coslr-200e_in1k.py 8
#
# Time, memory and result are not measured, here or in the paper.
_base_ = [
    "../_base_/models/sdr_mocov2_r50.py",
    "../_base_/datasets/mocov2_views_224px.py",
    "../_base_/datasets/subnet_loader.py",
    "../_base_/schedules/sdr_mocov2_sgd_200e.py",
    "../_base_/default_runtime.py",
]

data_root = "data/imagenet/"
clusters_file = "work_dirs/clusters_256.npz"
stage_groups = (4, 4, 4, 4)

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(
    batch_size=32,
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
