# SDR Sec. 5.3: distillation by the L2 distance in place of SiamKD.
#
#   tools/dist_train.sh configs/sdr/ablations/sdr_simsiam_r50_256path_l2.py 8
#
# Time, memory and result are not measured at this size, see docs/studies/sdr_small_scale.md.
_base_ = ["../sdr_simsiam_r50_256path.py"]

model = dict(distillation=dict(_delete_=True, type="mmssl_dynamic.L2Distillation"))
