# SDR Table 3, "SimSiam 56.3M": SimSiam with all weights of the super-network, one group in every stage.
#
#   tools/dist_train.sh configs/sdr/ablations/simsiam_r50-wide_8xb64-coslr-200e_in1k.py 8
#
# Time and memory: not measured. Result: the paper's Table 3 has 73.49 % by logistic regression, a mean of eleven data
# sets (SDR: 75.28); not measured here.
_base_ = ["../sdr_simsiam_r50_256path.py"]

stage_groups = (1, 1, 1, 1)
clusters_file = None

model = dict(backbone=dict(stage_groups=stage_groups, stage_channels=(96, 192, 384, 832)))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
