# Ablation: three switches.
_base_ = ["./dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"]

model = dict(backbone=dict(widths=(0.5, 1.0, 1.5)))
