# DSPNet on ImageNet with what makes a step cheap: one direction of each loss, channels-last order. With --amp on a GPU.
#
#   tools/dist_train.sh configs/dspnet/dspnet_mobilenet-v3_16xb256-coslr-300e_in1k_fast.py 16 --amp
#
# Time, memory and result are not measured at this size. At a small one networks are worse for it in the same time, see
# docs/studies/relatives.md.
_base_ = ["./dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"]

directions = "alternate"  # of each loss; "both" trains both a step
channels_last = True

model = dict(directions=directions)
