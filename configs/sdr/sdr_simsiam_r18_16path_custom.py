# The same with ResNet-18: each path is a stock ResNet-18.
_base_ = ["./sdr_simsiam_r50_16path_custom.py"]

model = dict(backbone=dict(depth=18))
