# Baseline on Tiny-ImageNet: BYOL with one network alone; --cfg-options model.backbone.widths="(0.5,)" for another one.
_base_ = ["./dspnet_mobilenet-v3_tinyin.py"]

model = dict(backbone=dict(widths=(1.0,)))
