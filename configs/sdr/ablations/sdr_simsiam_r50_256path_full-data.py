# SDR Table 3, "IN": every sub-network trains on all images.
_base_ = ["../sdr_simsiam_r50_256path.py"]

train_dataloader = dict(dataset=dict(subnet_data="full"))
