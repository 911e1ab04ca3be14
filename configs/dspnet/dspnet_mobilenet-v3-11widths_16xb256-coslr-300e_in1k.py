# Ablation: eleven switches.
_base_ = ["./dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"]

model = dict(backbone=dict(widths=(0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)))
