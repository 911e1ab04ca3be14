# BYOL on a folder of your own images on two cores: the largest network of dspnet_r18_custom_small.py alone.
#
#   mmssl-dynamic train --preset small --algorithm byol --data data/my_images
#   python tools/train.py configs/dspnet/byol_r18_custom_small.py --cfg-options data_root=data/my_images
#
# The preset also sets the epochs, so that the training sees about 128,000 images.
# Time and memory: tens of minutes on two cores; memory not measured. Result: not measured.
_base_ = ["./dspnet_r18_custom_small.py"]

model = dict(backbone=dict(channels=(0.5,)))
default_hooks = dict(progress=dict(label="BYOL"))
