# Baseline: BYOL with ResNet-50, the data pipeline and epochs of SDR on BYOL: the same run without paths.
#
#   tools/dist_train.sh configs/sdr/byol_r50_8xb64-coslr-400e_in1k.py 8
#
# Time and memory: not measured. Result: the paper's Table 1 has 75.95 %, a mean of eleven data sets; not measured here.
_base_ = ["./sdr_byol_r50_256path_8xb64-coslr-400e_in1k.py"]

stage_groups = (1, 1, 1, 1)
clusters_file = None

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
