# SDR Sec. 3: SimSiam on Subset-B of ImageNet; tools/data/split_imagenet.py writes the list.
#
#   tools/dist_train.sh configs/sdr/negative_transfer/simsiam_r50_8xb64-coslr-200e_in1k-subset-b.py 8
#
# Time and memory: not measured. Result: the paper's Sec. 3 has the pattern and no table that this fits; not measured at
# this size, see docs/studies/sdr_small_scale.md.
_base_ = ["../simsiam_r50_8xb64-coslr-200e_in1k.py"]

ann_file = "meta/subset_b.txt"

train_dataloader = dict(dataset=dict(dataset=dict(ann_file=ann_file)))
extract_dataloader = dict(dataset=dict(ann_file=ann_file))
