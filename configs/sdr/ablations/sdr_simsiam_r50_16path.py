# SDR Table 4: 16 paths.
#
#   tools/dist_train.sh configs/sdr/ablations/sdr_simsiam_r50_16path.py 8
#
# Time and memory: the paper's 400 GPU hours; memory not measured. Result: the paper's Table 4 has 56.83 % by kNN, a
# mean over tasks; not measured here.
_base_ = ["../sdr_simsiam_r50_256path.py"]

stage_groups = (1, 1, 4, 4)
clusters_file = "work_dirs/clusters_16.npz"

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
