# SDR Table 3, "IN", at small scale: every sub-network trains on all images.
_base_ = ["./sdr_r18-narrow_16path.py"]

train_dataloader = dict(dataset=dict(subnet_data="full"))
