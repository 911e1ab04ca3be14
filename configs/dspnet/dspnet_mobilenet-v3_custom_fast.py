# DSPNet's MobileNetV3s on a folder of your own images with what makes a step cheap: one direction of each loss,
# channels-last order. With --amp on a GPU.
#
#   python tools/train.py configs/dspnet/dspnet_mobilenet-v3_custom_fast.py --amp --cfg-options data_root=data/my_images
#
# Time, memory and result are not measured. At a small size networks are worse for it in the same time, see
# docs/studies/relatives.md.
_base_ = ["./dspnet_mobilenet-v3_custom.py"]

directions = "alternate"  # of each loss; "both" trains both a step
channels_last = True

model = dict(directions=directions)
