# SDR Sec. 3 at small scale: SimSiam on Subset-A; tools/data/split_imagenet.py writes the list.
_base_ = ["./simsiam_r18-narrow.py"]

ann_file = "meta/subset_a.txt"

train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            _delete_=True,
            type="CustomDataset",
            data_root={{_base_.data_root}},
            ann_file=ann_file,
            pipeline={{_base_.train_pipeline}},
        ),
    ),
)
extract_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="CustomDataset",
        data_root={{_base_.data_root}},
        ann_file=ann_file,
        pipeline={{_base_.eval_pipeline}},
    ),
)
