# SDR Table 4: one path, which is SimSiam with ResNet-50.
#
#   tools/dist_train.sh configs/sdr/ablations/sdr_simsiam_r50_1path.py 8
#
# Time and memory: the paper's 260 GPU hours; memory not measured. Result: the paper's Table 4 has 53.42 % by kNN, a
# mean over tasks; not measured here.
_base_ = ["../sdr_simsiam_r50_256path.py"]

stage_groups = (1, 1, 1, 1)
clusters_file = None

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
