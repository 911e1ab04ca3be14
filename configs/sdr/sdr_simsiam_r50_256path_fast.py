# SDR on ImageNet with what makes a step cheap: one direction of each loss, channels-last order. With --amp on a GPU.
#
#   tools/dist_train.sh configs/sdr/sdr_simsiam_r50_256path_fast.py 8 --amp
#
# Time and memory: a step costs about 1.2 steps of SimSiam's ResNet-50, averaged over the phases, where
# sdr_simsiam_r50_256path.py has 1.8; memory not measured. Result: not measured; at a small size paths
# are as good for it in the same time, see docs/studies/relatives.md.
_base_ = ["./sdr_simsiam_r50_256path.py"]

directions = "alternate"  # of each loss; "both" trains both a step
channels_last = True

model = dict(directions=directions)
