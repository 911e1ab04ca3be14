# SDR with 16 paths on a folder of your own images with what makes a step cheap: one direction of each loss, channels-last
# order. With --amp on a GPU.
#
#   python tools/train.py configs/sdr/sdr_simsiam_r50_16path_custom_fast.py --amp --cfg-options data_root=data/my_images
#
# Time and memory: not measured; it grows with the images. Result: not measured; at a small size
# paths are as good for it in the same time, see docs/studies/relatives.md.
_base_ = ["./sdr_simsiam_r50_16path_custom.py"]

directions = "alternate"  # of each loss; "both" trains both a step
channels_last = True

model = dict(directions=directions)
