# SDR Table 3, second section, at small scale: SimSiam with all weights of the super-network, one group in every stage.
_base_ = ["./sdr_r18-narrow_16path.py"]

stage_groups = (1, 1, 1, 1)
clusters_file = None

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
