# SDR Table 4: one path, which is SimSiam with ResNet-50.
_base_ = ["../sdr_simsiam_r50_256path.py"]

stage_groups = (1, 1, 1, 1)
clusters_file = None

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
