# The same with ResNet-34.
_base_ = ["./simsiam_r50_custom.py"]

model = dict(backbone=dict(depth=34), neck=dict(in_channels=512))
