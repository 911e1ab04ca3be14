# The same with 4 paths. A stage that is not split is not widened.
#
#   python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_4path_domains.py
#
# Time and memory: about half an hour on one core for 1,560 steps, as in the study; memory not measured. Result: see
# docs/studies/domains.md.
_base_ = ["./sdr_r18-narrow_16path_domains.py"]

stage_groups = (1, 1, 1, 4)

model = dict(backbone=dict(stage_groups=stage_groups, stage_channels=(24, 48, 96, 336)))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups))
