# SDR Sec. 3 at small scale: SimSiam on Subset-B; tools/data/split_imagenet.py writes the list.
_base_ = ["./simsiam_r18-narrow_subset-a.py"]

ann_file = "meta/subset_b.txt"

train_dataloader = dict(dataset=dict(dataset=dict(ann_file=ann_file)))
extract_dataloader = dict(dataset=dict(ann_file=ann_file))
