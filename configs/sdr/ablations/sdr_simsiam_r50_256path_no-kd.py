# SDR Sec. 5.3: no distillation.
_base_ = ["../sdr_simsiam_r50_256path.py"]

model = dict(distillation=None)
