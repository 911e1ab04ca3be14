# Baseline on Tiny-ImageNet: BYOL with a MobileNetV3 of one width alone. width=0.5 takes another one.
#
#   python tools/train.py configs/dspnet/byol_mobilenet-v3_tinyin.py
#
# Time, memory and result are not measured.
_base_ = ["./dspnet_mobilenet-v3_tinyin.py"]

width = 1.0

model = dict(backbone=dict(widths=(width,)))
