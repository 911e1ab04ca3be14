# Baseline: BYOL with ResNet-18 alone at 128 px.
_base_ = ["./dspnet_resnet_16xb256-coslr-300e_in1k-128px.py"]

model = dict(backbone=dict(channels=(1.0,), blocks=((2, 2, 2, 2),)))
