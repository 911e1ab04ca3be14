# SDR Table 3, "random": sub-networks train on random parts; tools/cluster.py --method random writes the file.
#
#   tools/dist_train.sh configs/sdr/ablations/sdr_simsiam_r50_256path_random-data.py 8
#
# Time and memory: not measured. Result: the paper's Table 3 has 70.70 % by logistic regression, a mean of eleven data
# sets (SDR: 75.28); not measured here.
_base_ = ["../sdr_simsiam_r50_256path.py"]

clusters_file = "work_dirs/clusters_256_random.npz"
train_dataloader = dict(dataset=dict(clusters_file=clusters_file))
