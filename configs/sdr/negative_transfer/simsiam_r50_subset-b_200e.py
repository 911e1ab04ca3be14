# SDR Sec. 3: SimSiam on Subset-B of ImageNet; tools/data/split_imagenet.py writes the list.
_base_ = ["../simsiam_r50_8xb64-coslr-200e_in1k.py"]

ann_file = "meta/subset_b.txt"

train_dataloader = dict(dataset=dict(dataset=dict(ann_file=ann_file)))
extract_dataloader = dict(dataset=dict(ann_file=ann_file))
