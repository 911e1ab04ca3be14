# SDR Sec. 5.3 at small scale: distillation by the L2 distance in place of SiamKD.
#
#   python tools/train.py configs/sdr/small_scale/sdr_r18-narrow_16path_l2.py
#
# Time and memory: about half an hour on one core for 1,560 steps, as in the study; memory not measured. Result: see
# docs/studies/sdr_small_scale.md.
_base_ = ["./sdr_r18-narrow_16path.py"]

model = dict(distillation=dict(_delete_=True, type="mmssl_dynamic.L2Distillation"))
