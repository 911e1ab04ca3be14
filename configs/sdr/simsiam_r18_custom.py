# The same with ResNet-18.
_base_ = ["./simsiam_r50_custom.py"]

model = dict(backbone=dict(depth=18), neck=dict(in_channels=512))
