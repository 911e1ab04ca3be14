# The same with all weights of the super-network whose paths have the size of simsiam_r18-narrow_domains.py.
#
#   python tools/train.py configs/sdr/small_scale/simsiam_r18-narrow_domains_wide.py
#
# Time and memory: about half an hour on one core for 1,560 steps, as in the study; memory not measured. Result: see
# docs/studies/domains.md.
_base_ = ["./sdr_r18-narrow_16path_domains.py"]

stage_groups = (1, 1, 1, 1)
clusters_file = None

model = dict(backbone=dict(stage_groups=stage_groups))
train_dataloader = dict(dataset=dict(stage_groups=stage_groups, clusters_file=clusters_file))
