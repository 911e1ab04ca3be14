# SDR Sec. 3: SimSiam on all of ImageNet, for as many epochs as on its subsets.
_base_ = ["../simsiam_r50_8xb64-coslr-200e_in1k.py"]
