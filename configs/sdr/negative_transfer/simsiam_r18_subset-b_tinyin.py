# SDR Sec. 3 at small scale: SimSiam on Subset-B of Tiny-ImageNet; tools/data/split_imagenet.py writes the list.
_base_ = ["./simsiam_r18_subset-a_tinyin.py"]

ann_file = "meta/subset_b.txt"

train_dataloader = dict(dataset=dict(dataset=dict(ann_file=ann_file)))
extract_dataloader = dict(dataset=dict(ann_file=ann_file))
