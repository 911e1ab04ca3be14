# The same with one path and without SiamKD: DSPNet's sandwich on SimSiam, over the same three networks.
#
#   python tools/train.py configs/sdr_slimmable/small_scale/sdr-slimmable_r18-narrow_1path_domains.py
#
# Time and memory: about six minutes of one core for 10 epochs of the study, 980 steps; memory not measured. Result: see
# docs/studies/budget.md.
_base_ = ["./sdr-slimmable_r18-narrow_16path_domains.py"]

stage_groups = (1, 1, 1, 1)
clusters_file = None

model = dict(backbone=dict(stage_groups=stage_groups, stage_channels=(24, 48, 96, 192)), distillation=None)
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
