# BYOL on a folder of your own images, one GPU: the largest network of dspnet_r50_custom.py alone.
#
#   python tools/train.py configs/dspnet/byol_r50_custom.py
#
# Time, memory and result are not measured.
_base_ = ["./dspnet_r50_custom.py"]

model = dict(backbone=dict(channels=(1.0,)))
