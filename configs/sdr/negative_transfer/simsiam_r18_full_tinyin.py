# SDR Sec. 3 at small scale: SimSiam on all of Tiny-ImageNet, for as many epochs as on its subsets.
_base_ = ["../simsiam_r18_tinyin.py"]
