# SDR Sec. 5.3 at small scale: distillation by the L2 distance in place of SiamKD.
_base_ = ["./sdr_r18-narrow_16path.py"]

model = dict(distillation=dict(_delete_=True, type="mmssl_dynamic.L2Distillation"))
