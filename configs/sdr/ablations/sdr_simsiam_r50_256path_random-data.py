# SDR Table 3, "random": sub-networks train on random parts; tools/cluster.py --method random writes the file.
_base_ = ["../sdr_simsiam_r50_256path.py"]

clusters_file = "work_dirs/clusters_256_random.npz"
train_dataloader = dict(dataset=dict(clusters_file=clusters_file))
