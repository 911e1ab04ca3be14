# BYOL on a folder of your own images on two cores: the largest network of dspnet_resnet18_custom_small.py alone.
# mmssl-dynamic train --preset small --algorithm byol --data DIR
_base_ = ["./dspnet_resnet18_custom_small.py"]

model = dict(backbone=dict(channels=(0.5,)))
default_hooks = dict(progress=dict(label="BYOL"))
