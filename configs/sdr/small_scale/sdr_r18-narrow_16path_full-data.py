# SDR Table 3, "IN", at small scale: every sub-network trains on all images.
#
#   python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_full-data.py
#
# Time and memory: about half an hour on one core for 1,560 steps, as in the study; memory not measured. Result: see
# docs/studies/sdr_small_scale.md.
_base_ = ["./sdr_r18-narrow_16path.py"]

train_dataloader = dict(dataset=dict(subnet_data="full"))
