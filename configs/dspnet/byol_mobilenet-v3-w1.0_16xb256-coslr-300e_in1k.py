# Baseline: BYOL with the network of width 1.0 alone, which is DSPNet with a single network.
_base_ = ["./dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"]

model = dict(backbone=dict(widths=(1.0,)))
