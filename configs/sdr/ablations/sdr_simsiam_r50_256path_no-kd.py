# SDR Sec. 5.3: no distillation.
#
#   tools/dist_train.sh configs/sdr/ablations/sdr_simsiam_r50_256path_no-kd.py 8
#
# Time, memory and result are not measured.
_base_ = ["../sdr_simsiam_r50_256path.py"]

model = dict(distillation=None)
