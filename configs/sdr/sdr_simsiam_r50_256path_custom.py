# The same with 256 paths, for millions of images: stages of 112, 224, 448 and 896 channels.
_base_ = ["./sdr_simsiam_r50_16path_custom.py"]

stage_groups = (4, 4, 4, 4)

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups))
