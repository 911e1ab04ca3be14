# SDR Sec. 5.3: distillation by the L2 distance in place of SiamKD.
_base_ = ["../sdr_simsiam_r50_256path.py"]

model = dict(distillation=dict(_delete_=True, type="mmssl_dynamic.L2Distillation"))
