# The same with ResNet-18: at its whole width a path is a stock ResNet-18.
#
#   python tools/train.py configs/sdr_slimmable/sdr-slimmable_simsiam_r18_16path_custom.py
#
# Time and memory: not measured; it grows with the images. Result: not measured; with fewer than a million images set
# init_from.
_base_ = ["./sdr-slimmable_simsiam_r50_16path_custom.py"]

model = dict(backbone=dict(depth=18))
