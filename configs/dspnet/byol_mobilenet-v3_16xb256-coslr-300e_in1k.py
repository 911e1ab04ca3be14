# Baseline: BYOL with a MobileNetV3 of one width alone, which is DSPNet with a single network. width=1.5
# takes another one.
#
#   tools/dist_train.sh configs/dspnet/byol_mobilenet-v3_16xb256-coslr-300e_in1k.py 16
#
# Time, memory and result are not measured.
_base_ = ["./dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"]

width = 1.0

model = dict(backbone=dict(widths=(width,)))
