# SDR Table 3, "SimSiam 56.3M": SimSiam with all weights of the super-network, one group in every stage.
_base_ = ["../sdr_simsiam_r50_256path.py"]

stage_groups = (1, 1, 1, 1)
clusters_file = None

model = dict(backbone=dict(stage_groups=stage_groups, stage_channels=(96, 192, 384, 832)))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
