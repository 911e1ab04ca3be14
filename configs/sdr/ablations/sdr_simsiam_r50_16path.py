# SDR Table 4: 16 paths.
_base_ = ["../sdr_simsiam_r50_256path.py"]

stage_groups = (1, 1, 4, 4)
clusters_file = "work_dirs/clusters_16.npz"

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
