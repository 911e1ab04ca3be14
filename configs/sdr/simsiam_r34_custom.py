# The same with ResNet-34.
#
#   python tools/train.py configs/sdr/simsiam_r34_custom.py
#
# Time and memory: not measured; it grows with the images. Result: not measured.
_base_ = ["./simsiam_r50_custom.py"]

model = dict(backbone=dict(depth=34), neck=dict(in_channels=512))
