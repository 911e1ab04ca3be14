# The same with ResNet-18.
#
#   python tools/train.py configs/sdr/simsiam_r18_custom.py
#
# Time and memory: not measured; it grows with the images. Result: not measured.
_base_ = ["./simsiam_r50_custom.py"]

model = dict(backbone=dict(depth=18), neck=dict(in_channels=512))
