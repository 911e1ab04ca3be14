# Baseline: BYOL with ResNet-18 alone at 128 px.
#
#   tools/dist_train.sh configs/dspnet/byol_r18_16xb256-coslr-300e_in1k-128px.py 16
#
# Time and memory: not measured. Result: the paper has 50.2 % by kNN and 60.8 % by a linear probe; not measured here.
_base_ = ["./dspnet_resnet_16xb256-coslr-300e_in1k-128px.py"]

model = dict(backbone=dict(channels=(1.0,), blocks=((2, 2, 2, 2),)))
