# SDR Sec. 3 at small scale: SimSiam on Subset-A of Tiny-ImageNet; tools/data/split_imagenet.py writes the list.
#
#   python tools/train.py configs/sdr/negative_transfer/simsiam_r18_tinyin-subset-a.py
#
# Time, memory and result are not measured at this size, see docs/studies/sdr_small_scale.md.
_base_ = ["../simsiam_r18_tinyin.py"]

data_root = "data/tiny-imagenet-200"
ann_file = "meta/subset_a.txt"

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type="CustomDataset",
            data_root=data_root,
            data_prefix="train",
            ann_file=ann_file,
            pipeline={{_base_.train_pipeline}},
        ),
    ),
)
extract_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root=data_root,
        data_prefix="train",
        ann_file=ann_file,
        pipeline={{_base_.eval_pipeline}},
    ),
)
