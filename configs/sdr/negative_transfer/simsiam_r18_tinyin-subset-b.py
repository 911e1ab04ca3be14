# SDR Sec. 3 at small scale: SimSiam on Subset-B of Tiny-ImageNet; tools/data/split_imagenet.py writes the list.
#
#   python tools/train.py configs/sdr/negative_transfer/simsiam_r18_tinyin-subset-b.py
#
# Time, memory and result are not measured at this size, see docs/studies/sdr_small_scale.md.
_base_ = ["./simsiam_r18_tinyin-subset-a.py"]

ann_file = "meta/subset_b.txt"

train_dataloader = dict(dataset=dict(dataset=dict(ann_file=ann_file)))
extract_dataloader = dict(dataset=dict(ann_file=ann_file))
