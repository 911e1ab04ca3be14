# The same with ResNet-34: each path is a stock ResNet-34.
_base_ = ["./sdr_simsiam_r50_16path_custom.py"]

model = dict(backbone=dict(depth=34))
