# BYOL on a folder of your own images, one GPU: the largest network of dspnet_resnet50_custom.py alone.
_base_ = ["./dspnet_resnet50_custom.py"]

model = dict(backbone=dict(channels=(1.0,)))
