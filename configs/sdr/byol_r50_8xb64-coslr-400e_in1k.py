# Baseline: BYOL with ResNet-50, the data pipeline and epochs of SDR on BYOL: the same run without paths.
_base_ = ["./sdr_byol_r50_256path_400e.py"]

stage_groups = (1, 1, 1, 1)
clusters_file = None

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
