# The same with ResNet-18: each path is a stock ResNet-18.
#
#   python tools/train.py configs/sdr/sdr_simsiam_r18_16path_custom.py
#
# Time and memory: not measured; it grows with the images. Result: not measured; with fewer than a million images set
# init_from.
_base_ = ["./sdr_simsiam_r50_16path_custom.py"]

model = dict(backbone=dict(depth=18))
