# SDR Table 3, "IN": every sub-network trains on all images.
#
#   tools/dist_train.sh configs/sdr/ablations/sdr_simsiam_r50_256path_full-data.py 8
#
# Time and memory: not measured. Result: the paper's Table 3 has 72.50 % by logistic regression, a mean of eleven data
# sets (SDR: 75.28); not measured here.
_base_ = ["../sdr_simsiam_r50_256path.py"]

train_dataloader = dict(dataset=dict(subnet_data="full"))
