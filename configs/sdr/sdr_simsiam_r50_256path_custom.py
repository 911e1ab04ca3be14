# The same with 256 paths, for millions of images: stages of 112, 224, 448 and 896 channels.
#
#   python tools/train.py configs/sdr/sdr_simsiam_r50_256path_custom.py
#
# Time and memory: not measured; it grows with the images. Result: not measured; with fewer than a million images set
# init_from.
_base_ = ["./sdr_simsiam_r50_16path_custom.py"]

stage_groups = (4, 4, 4, 4)

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups))
